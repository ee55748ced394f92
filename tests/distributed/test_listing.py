import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from expllm.distributed import storage
from expllm.distributed.listing import list_photographs
from expllm.errors import CallerError


def listed(source):
    return sorted(uri for batch in list_photographs(str(source)) for uri in batch["photo_uri"].to_pylist())


@pytest.fixture
def folder(tmp_path):
    for name in ("a.jpg", "B.JPEG", "deep/er/c.png", "d.webp", "notes.txt", "e.gif", "noise"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


@pytest.fixture
def bucket(s3, request):
    prefix = f"s3://photos/{request.node.name}"
    for name in ("faces/a.jpg", "faces/deep/b.PNG", "faces/readme.txt", "faces2/c.jpg"):
        storage.write(f"{prefix}/{name}", b"x")
    return prefix


def test_a_folder_gives_its_photographs_at_any_depth(folder):
    names = ["B.JPEG", "a.jpg", "d.webp", "deep/er/c.png"]
    assert listed(folder) == [str(folder / name) for name in names]


def test_a_file_is_one_photograph_whatever_its_name(folder):
    assert listed(folder / "noise") == [str(folder / "noise")]


def test_a_glob_takes_every_file_it_names(folder):
    names = ["a.jpg", "d.webp", "deep/er/c.png", "e.gif"]
    assert listed(folder / "**" / "[a-z].*") == [str(folder / name) for name in names]


def test_a_prefix_ends_at_a_slash(bucket):
    assert listed(f"{bucket}/faces") == [f"{bucket}/faces/a.jpg", f"{bucket}/faces/deep/b.PNG"]


def test_one_object_is_one_photograph(bucket):
    assert listed(f"{bucket}/faces/a.jpg") == [f"{bucket}/faces/a.jpg"]


def test_a_glob_over_a_bucket_keeps_to_its_folders(bucket):
    assert listed(f"{bucket}/faces*/?.jpg") == [f"{bucket}/faces/a.jpg", f"{bucket}/faces2/c.jpg"]
    assert listed(f"{bucket}/**/b.*") == [f"{bucket}/faces/deep/b.PNG"]


def test_an_object_that_stands_for_a_folder_is_no_photograph(bucket):
    storage.write(f"{bucket}/console/", b"")
    storage.write(f"{bucket}/console/a.jpg", b"x")
    assert listed(f"{bucket}/console/") == [f"{bucket}/console/a.jpg"]
    assert listed(f"{bucket}/console/*") == [f"{bucket}/console/a.jpg"]


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_a_list_may_hold_its_text_in_any_form(folder, kind):
    names = pa.array(["a.jpg", None, "noise"]).cast(kind)
    pa.parquet.write_table(pa.table({"photo_uri": names}), folder / "list.parquet")
    assert listed(folder / "list.parquet") == [str(folder / "a.jpg"), str(folder / "noise")]


def test_a_list_that_pandas_wrote_is_read(folder):
    pd.DataFrame({"n": [1], "path": ["a.jpg"]}).to_parquet(folder / "list.parquet")
    assert listed(folder / "list.parquet") == [str(folder / "a.jpg")]


def test_a_list_of_numbers_is_the_callers_mistake(folder):
    pa.parquet.write_table(pa.table({"n": [1]}), folder / "list.parquet")
    with pytest.raises(CallerError, match="needs a column of URIs named photo_uri"):
        listed(folder / "list.parquet")


def test_a_line_that_names_a_bucket_alone_is_named(folder):
    (folder / "list.txt").write_text("a.jpg\ns3://photos\n")
    with pytest.raises(
        CallerError, match=r"^s3://photos: names a bucket and no object; write s3://bucket/key$"
    ):
        listed(folder / "list.txt")


def test_a_name_that_no_file_can_have_costs_its_own_row(folder):
    (folder / "list.txt").write_text("a.jpg\nb\0c.jpg\n")
    assert len(listed(folder / "list.txt")) == 2


@pytest.mark.parametrize("suffix", ["txt", "csv", "parquet"])
def test_a_list_names_its_photographs(folder, bucket, suffix):
    uris = ["a.jpg", "noise", f"{bucket}/faces/a.jpg"]
    path = folder / f"list.{suffix}"
    if suffix == "parquet":
        pa.parquet.write_table(pa.table({"n": [1, 2, 3], "photo_uri": uris}), path)
    else:
        path.write_text("\n".join(uris) + "\n")
    assert listed(path) == [str(folder / "a.jpg"), str(folder / "noise"), f"{bucket}/faces/a.jpg"]


def test_a_csv_list_may_have_other_columns(folder):
    (folder / "list.csv").write_text("person,file\n1,a.jpg\n2,d.webp\n")
    assert listed(folder / "list.csv") == [str(folder / "a.jpg"), str(folder / "d.webp")]


def test_what_a_list_names_and_is_not_there_is_listed_without_a_tag(folder):
    (folder / "list.txt").write_text("# mine\n\na.jpg\nabsent.jpg\n")
    rows = [row for batch in list_photographs(str(folder / "list.txt")) for row in batch.to_pylist()]
    assert [bool(row["photo_etag"]) for row in rows] == [True, False]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/no/such/folder", "there is no such file or folder"),
        ("{tmp}", "holds no photograph"),
        ("{tmp}/*.jpg", "holds no photograph"),
        ("{tmp}/list.txt", "there is no such list"),
        ("{tmp}/bad.parquet", "cannot be read as a list"),
        ("{tmp}/photos.tgz", "compressed archives are not read"),
        ("s3://", "names no bucket"),
        ("s3://photos/empty/", "holds no photograph"),
    ],
)
def test_an_input_that_gives_nothing_is_the_callers_mistake(s3, tmp_path, source, message):
    (tmp_path / "bad.parquet").write_bytes(b"not parquet")
    with pytest.raises(CallerError, match=message):
        listed(source.format(tmp=tmp_path))

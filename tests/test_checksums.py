from expllm.checksums import file_sha256, short_sha256


def test_a_file_and_the_same_text_have_the_same_hash(tmp_path):
    (tmp_path / "file").write_text("abc")
    assert file_sha256(tmp_path / "file").startswith(short_sha256("abc"))
    assert short_sha256("abc") == "ba7816bf8f01"  # FIPS 180-2, appendix B.1

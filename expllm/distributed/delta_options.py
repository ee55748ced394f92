"""AWS settings -> the options with which delta-rs sees the same store as the S3 client."""

from expllm.distributed import storage
from expllm.errors import CallerError


def delta_options(uri: str) -> dict[str, str]:
    """The storage options of a table's URI; ask again for each use, credentials expire."""
    if not storage.is_s3(uri):
        return {}
    meta = storage.client().meta
    with storage.naming(uri):
        held = storage.session().get_credentials()
        if held is None:
            raise CallerError("S3: no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        keys = held.get_frozen_credentials()
    options = {
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_SESSION_TOKEN": keys.token,
        "AWS_REGION": meta.region_name or "us-east-1",
        "AWS_ENDPOINT_URL": None if meta.endpoint_url.endswith("amazonaws.com") else meta.endpoint_url,
        "AWS_ALLOW_HTTP": "true" if meta.endpoint_url.startswith("http://") else None,
        "conditional_put": "etag",
    }
    return {key: value for key, value in options.items() if value}

"""gateway.settings"""

import pytest
from pydantic import ValidationError
from pydantic_settings import CliApp

from gateway.settings import Settings


def settings(*arguments: str) -> Settings:
    """What the command line makes of the settings."""
    return CliApp.run(Settings, cli_args=["--models=digits", *arguments])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--listen=0.0.0.0:0"], "`listen` is 0.0.0.0:0, where other machines would speak to it in plain text"),
        (["--http=[::]:0"], r"`http` is \[::\]:0"),
        (["--listen=gateway.example:1"], "`listen`"),
        (["--listen=0.0.0.0:1", "--http=0.0.0.0:2", "--tls.key-file=k", "--tls.certificate-file=c"], "`http`"),
        (["--tls.key-file=key.pem"], "expected both `certificate_file` and `key_file`"),
        (["--tls.client-ca-file=ca.pem"], "need `certificate_file` and `key_file`"),
        (['--auth.certificates={"a": {"client": "a"}}'], "`auth.certificates` needs `tls.client_ca_file`"),
        (["--auth.keys-file=null"], "nobody could call"),
        (['--auth.issuers=[{"issuer": "https://i.test"}]'], "audiences"),
        (["--feedback.database-url=sqlite:///f.db"], "`feedback.database_url` needs `receipt_key`"),
        (["--feedback.retention-days=30"], "`feedback.retention_days` is 30; expected 90"),
        (["--feedback.database-url=mysql://me:secret@host/db"], "expected sqlite:///<file> or postgresql://"),
        (["--feedback.database-url=sqlite:///:memory:"], "expected sqlite:///<file>"),
        (["--receipt-key-fallbacks=short"], "expected 16 to 64 bytes"),
        (["--envoy.admin=0.0.0.0:9901"], "`envoy.admin` is 0.0.0.0:9901; expected an address on loopback"),
        (["--envoy.admin=127.0.0.1:9901", "--workers=2"], "`envoy.admin` is one process's"),
    ],
)
def test_refused(arguments: list[str], text: str) -> None:
    """Settings that would leave a door open, or could not work, are refused with a line that says why."""
    with pytest.raises(ValidationError, match=text):
        settings(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--listen=localhost:1", "--http=[::1]:1"],
        ["--listen=0.0.0.0:1", "--http=0.0.0.0:1", "--tls.plaintext-anywhere"],
        ["--listen=0.0.0.0:1", "--tls.key-file=k", "--tls.certificate-file=c"],
        ["--auth.keys-file=null", "--no-auth.enabled"],
        ["--auth.keys-file=null", '--auth.issuers=[{"issuer": "https://i.test", "audiences": ["a"]}]'],
    ],
)
def test_taken(arguments: list[str]) -> None:
    """Settings that work are taken."""
    settings(*arguments)


def test_receipt_keys() -> None:
    """Keys that are taken beside the one that signs stand in one setting, and none is ever shown."""
    read = settings(f"--receipt-key={'a' * 16}", f"--receipt-key-fallbacks={'b' * 16},{'c' * 64}")
    assert [key.get_secret_value() for key in read.receipt_key_fallbacks] == ["b" * 16, "c" * 64]
    assert "bbb" not in repr(read)

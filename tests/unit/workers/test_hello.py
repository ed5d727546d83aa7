"""What a worker says when the broker does not let it in."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from augury_workers import settings
from augury_workers.hello import Hello
from augury_workers.protocol import new_secret_line
from augury_workers.secret import SettingError


@pytest.mark.parametrize(("password", "named"), [("…", True), ("other", False)])
def test_a_login_with_the_password_that_stands_in_logs_names_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str, named: bool
) -> None:
    def refuse(self: Hello) -> None:
        raise redis.AuthenticationError("invalid username-password pair")

    monkeypatch.setattr(Hello, "_say", refuse)
    secret = tmp_path / "secret"
    secret.write_text(new_secret_line())
    secret.chmod(0o600)
    variables = {
        "AUGURY_REDIS_URL": f"redis://:{password}@gpu0:6379/0",
        "AUGURY_URL": "http://gpu0:8800",
        "AUGURY_SECRET_FILE": str(secret),
    }
    worker = settings.parse(["--machine-type", "CPU", "--state-dir", str(tmp_path)], variables)
    with pytest.raises(SettingError, match="refuses the login: invalid username-password pair") as caught:
        Hello(worker).first()
    assert ("… stands for the password in logs: put the broker's own there" in str(caught.value)) is named

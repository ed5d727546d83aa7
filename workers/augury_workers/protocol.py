"""The wire between server and workers: key names, message fields, scripts and signatures.

Both sides import this module and nothing else of each other. It holds no connection: functions return
names, bytes and dictionaries. Version 1; raise `VERSION` when a field changes its meaning.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

VERSION = 1

TASK_NAME = "augury.run"
DEFAULT_INSTANCE = "main"
LOCAL_INSTANCE = "local"

BOX_EXPIRE_SECONDS = 60
ATTEMPT_EXPIRE_SECONDS = 3600
CLAIM_REPEAT_SECONDS = 2.0
BEAT_SECONDS = 5.0
HELLO_SECONDS = 10.0
HELLO_LOST_SECONDS = 30.0
POINTS_PER_REPORT = 500
LOG_BYTES_PER_REPORT = 64 * 1024
UNACKED_BYTES_LIMIT = 4 * 1024 * 1024

Want = Literal["", "stop", "kill"]
Verdict = Literal["yours", "superseded", "gone"]
Denial = Literal["superseded", "version", "key"]
"""Why a claim is refused: the run is not to be had, another version of the wire, another key."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of everything that lives in Redis for one instance."""

    instance: str

    @property
    def prefix(self) -> str:
        """Prefix of every key, Celery's queues included."""
        return f"augury:{self.instance}:"

    @property
    def reports(self) -> str:
        """Stream from all workers to the server."""
        return self.prefix + "reports"

    @property
    def leader(self) -> str:
        """Epoch of the server that leads."""
        return self.prefix + "leader"

    @property
    def drained(self) -> str:
        """Set of the names of workers that shall take nothing new."""
        return self.prefix + "drained"

    @property
    def refused(self) -> str:
        """Hash: name of a worker -> why its hello is refused, as `refusal` writes it."""
        return self.prefix + "refused"

    def box(self, nonce: str) -> str:
        """List from the server to the one attempt that holds `nonce`."""
        return f"{self.prefix}box:{nonce}"

    def attempt(self, run: int) -> str:
        """Hash of the open attempt of `run`: token nonce want ack gen (server), beat sent (worker)."""
        return f"{self.prefix}att:{run}"


def celery_url(redis_url: str) -> str:
    """Return the broker's URL as Celery spells it: `unix:///p?db=1` -> `redis+socket:///p?virtual_host=1`.

    Certificates are checked unless the URL says otherwise: Kombu by itself trusts any.
    """
    parts = urlsplit(redis_url)
    if parts.scheme == "rediss" and "ssl_cert_reqs=" not in parts.query:
        return parts._replace(query=f"{parts.query}&ssl_cert_reqs=required".lstrip("&")).geturl()
    if parts.scheme != "unix":
        return redis_url
    options = dict(parse_qsl(parts.query))
    username = options.pop("username", unquote(parts.username or ""))
    password = options.pop("password", unquote(parts.password or ""))
    login = f"{quote(username, safe='')}:{quote(password, safe='')}@" if password else ""
    options["virtual_host"] = options.pop("db", "0")
    return f"redis+socket://{login}{parts.path}?{urlencode(options)}"


def distrust(error: Exception) -> str | None:
    """Return what to do about a broker whose certificate is not trusted; None where it is no such error."""
    reason = re.search(r"certificate verify failed: (.+?) \(_ssl", str(error))
    if reason is None:
        return None
    return (
        f"the broker's certificate is not trusted here ({reason[1]}): name the file of its CA in the URL, as "
        "rediss://…/0?ssl_ca_certs=FILE, or give that CA to this machine"
    )


def queue_name(machine_type: str) -> str:
    """Return the Celery queue of a machine type: `RTX 4090` -> `rtx-4090`."""
    return re.sub(r"[^a-z0-9._-]", "-", machine_type.lower())


def task_id(run: int, token: int) -> str:
    """Return the Celery id of a doorbell, as Flower shows it: `run-401.1`."""
    return f"run-{run}.{token}"


def new_nonce() -> str:
    """Return 128 random bits in hexadecimal."""
    return secrets.token_hex(16)


def attempt_tag(instance: str, run: int, token: int, nonce: str) -> str:
    """Return the value of `AUGURY_TAG` by which leftover processes of an attempt are found."""
    return f"{instance}/{run}/{token}/{nonce}"


# --- reports: from a worker to the server ---------------------------------------------------------


def report_origin(run: int, token: int, nonce: str) -> str:
    """Return field `a` of an ordered report."""
    return f"{run}/{token}/{nonce}"


def parse_origin(origin: str) -> tuple[int, int, str]:
    """Read field `a` back as (run, token, nonce); raises `ValueError` when malformed."""
    run, token, nonce = origin.split("/")
    return int(run), int(token), nonce


def claim_fields(run: int, token: int, nonce: str, worker: str, slot: int) -> dict[str, str | int]:
    """Return the stream entry by which a supervisor asks for a run."""
    return {
        "k": "claim",
        "v": VERSION,
        "run": run,
        "token": token,
        "nonce": nonce,
        "worker": worker,
        "slot": slot,
    }


def died_fields(run: int, token: int, nonce: str, worker: str, reason: str) -> dict[str, str | int]:
    """Return the stream entry that tells of an attempt whose processes are gone without a result."""
    return {
        "k": "died",
        "v": VERSION,
        "run": run,
        "token": token,
        "nonce": nonce,
        "worker": worker,
        "reason": reason,
    }


def hello_fields(
    worker: str, host: str, queues: Sequence[str], types: Sequence[str], slots: int
) -> dict[str, str | int]:
    """Return the stream entry by which a worker says every 10 s that it is there."""
    body = {
        "worker": worker,
        "host": host,
        "queues": list(queues),
        "types": list(types),
        "slots": slots,
        "v": VERSION,
    }
    return {"k": "hello", "v": VERSION, "j": json.dumps(body)}


def sign_fields(fields: Mapping[str, str | int], secret: Secret) -> dict[str, str | int]:
    """Return the entry of a claim or a hello with the mark of the key that its worker has."""
    return {**fields, "kid": secret.kid, "mac": sign(signed_text(fields), secret)}


def signed_text(fields: Mapping[str, str | int]) -> str:
    """Return what the mark of a claim or a hello is made over; no order begins like that."""
    pairs = sorted((name, str(value)) for name, value in fields.items() if name not in ("kid", "mac"))
    return "entry " + json.dumps(pairs)


def is_signed(text: str, kid: str, mac: str, secrets_by_kid: Mapping[str, Secret]) -> bool:
    """Tell whether the mark over `signed_text` was made with a key that is known here."""
    secret = secrets_by_kid.get(kid)
    return secret is not None and hmac.compare_digest(sign(text, secret).encode(), mac.encode())


def refusal(reason: str, mac: str) -> str:
    """Return what `Keys.refused` says of a worker: why, and the mark of the hello that was refused.

    By the mark a worker that was started again with the right key knows that it is not meant.
    """
    return f"{reason} {mac}"


def encode_value(value: float) -> float | str:
    """Return a metric value as strict JSON: non-finite ones as `"NaN"`, `"Infinity"`, `"-Infinity"`."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def decode_value(value: float | str) -> float:
    """Read a metric value of `encode_value` back."""
    return float(value)


# --- orders: from the server to one attempt -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Secret:
    """One line of the secret file: a key id and its 32 bytes."""

    kid: str
    key: bytes


def parse_secrets(text: str) -> list[Secret]:
    """Read the lines `kid base64(32 bytes)` of a secret file: the first signs, all verify.

    Raises:
        ValueError: a line is malformed or there is none.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            kid, encoded = line.split()
            key = base64.b64decode(encoded, validate=True)
        except ValueError as error:
            raise ValueError(f"line {number} of the secret file is not 'kid base64-key'") from error
        if len(key) != 32:
            raise ValueError(f"line {number} of the secret file: the key must have 32 bytes")
        found.append(Secret(kid, key))
    if not found:
        raise ValueError("the secret file holds no key")
    return found


def new_secret_line() -> str:
    """Return a line of the secret file with a new key."""
    return f"{secrets.token_hex(4)} {base64.b64encode(secrets.token_bytes(32)).decode()}\n"


def sign(text: str, secret: Secret) -> str:
    """Return the HMAC-SHA256 of a text, in hexadecimal."""
    return hmac.new(secret.key, text.encode(), hashlib.sha256).hexdigest()


def seal_order(order: Mapping[str, Any], secret: Secret) -> str:
    """Return the box entry that grants a run."""
    text = json.dumps(order, separators=(",", ":"))
    return json.dumps({"order": text, "kid": secret.kid, "mac": sign(text, secret)})


def open_order(entry: Mapping[str, Any], secrets_by_kid: Mapping[str, Secret]) -> dict[str, Any]:
    """Check the signature of a box entry and return its order.

    Raises:
        ValueError: the key is unknown or the signature does not match.
    """
    secret = secrets_by_kid.get(str(entry.get("kid")))
    if secret is None:
        raise ValueError(f"order signed with unknown key '{entry.get('kid')}': compare AUGURY_SECRET_FILE")
    text = str(entry["order"])
    if not hmac.compare_digest(sign(text, secret), str(entry.get("mac"))):
        raise ValueError("order with a wrong signature: compare AUGURY_SECRET_FILE with the server's")
    order: dict[str, Any] = json.loads(text)
    return order


def deny_entry(reason: Denial) -> str:
    """Return the box entry that refuses a claim."""
    return json.dumps({"deny": reason})


def wake_entry() -> str:
    """Return the box entry that tells an attempt to look at `want` now."""
    return json.dumps({"wake": 1})


# --- blobs: what a worker asks the server for over HTTP --------------------------------------------

WORKER_SCHEME = "Worker"
"""Of the Authorization header by which an attempt, instead of a user, is let in."""


@dataclass(frozen=True, slots=True)
class Authorization:
    """What the header of `authorize` says: nothing of it is true before its `mac` was compared."""

    kid: str
    run: int
    token: int
    nonce: str
    mac: str


def authorize(method: str, path: str, origin: str, secret: Secret) -> str:
    """Return the Authorization header of a request that the attempt `origin` makes (see `report_origin`)."""
    return f"{WORKER_SCHEME} {secret.kid} {origin} {_request_mac(method, path, origin, secret)}"


def parse_authorization(header: str) -> Authorization:
    """Read the header of `authorize`; raises `ValueError` when malformed."""
    scheme, kid, origin, mac = header.split(" ")
    if scheme != WORKER_SCHEME:
        raise ValueError(f"not of the scheme {WORKER_SCHEME}")
    return Authorization(kid, *parse_origin(origin), mac)


def is_authorized(method: str, path: str, claim: Authorization, secret: Secret) -> bool:
    """Tell whether `claim` was made with `secret` for exactly this request."""
    origin = report_origin(claim.run, claim.token, claim.nonce)
    return claim.kid == secret.kid and hmac.compare_digest(
        _request_mac(method, path, origin, secret), claim.mac
    )


def _request_mac(method: str, path: str, origin: str, secret: Secret) -> str:
    return sign(f"{method} {path} {origin}", secret)


# --- scripts ---------------------------------------------------------------------------------------

SAY = """
-- Heartbeat and reports of one attempt, in one step.
-- KEYS: attempt hash, report stream, box.  ARGV: token, nonce, origin, then (s, j, d) per report.
local att = redis.call('HMGET', KEYS[1], 'token', 'nonce', 'want', 'ack', 'gen')
if not att[1] then return {'gone', '', '0', ''} end
if att[1] ~= ARGV[1] or att[2] ~= ARGV[2] then return {'superseded', '', '0', ''} end
for i = 4, #ARGV, 3 do
  redis.call('XADD', KEYS[2], '*', 'a', ARGV[3], 's', ARGV[i], 'j', ARGV[i + 1], 'd', ARGV[i + 2])
end
if #ARGV > 3 then redis.call('HSET', KEYS[1], 'sent', ARGV[#ARGV - 2]) end
redis.call('HINCRBY', KEYS[1], 'beat', 1)
redis.call('EXPIRE', KEYS[3], 60)
return {'yours', att[3] or '', att[4] or '0', att[5] or ''}
"""

GRANT = """
-- Tell an attempt that it holds its run.  Refused when another server leads.
-- KEYS: leader, attempt hash, box.  ARGV: epoch, token, nonce, want, ack, gen, box entry.
local epoch = redis.call('GET', KEYS[1])
if epoch and tonumber(epoch) > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[2], 'token', ARGV[2], 'nonce', ARGV[3], 'want', ARGV[4],
  'ack', ARGV[5], 'gen', ARGV[6])
redis.call('PERSIST', KEYS[2])
redis.call('RPUSH', KEYS[3], ARGV[7])
redis.call('EXPIRE', KEYS[3], 60)
return 1
"""

MEND = """
-- Write the hash of an attempt anew.  Refused when another server leads.
-- That of a later attempt stays: what the server read may be older by now.
-- KEYS: leader, attempt hash.  ARGV: epoch, token, nonce, want, ack, gen.
local epoch = redis.call('GET', KEYS[1])
if epoch and tonumber(epoch) > tonumber(ARGV[1]) then return 0 end
local token = redis.call('HGET', KEYS[2], 'token')
if token and tonumber(token) > tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[2], 'token', ARGV[2], 'nonce', ARGV[3], 'want', ARGV[4],
  'ack', ARGV[5], 'gen', ARGV[6])
redis.call('PERSIST', KEYS[2])
return 1
"""

REAP = """
-- Take a silent attempt's run away.  Refused when it has spoken since `beat` was read, or is another by now.
-- Done again for one that was taken away before: the store may have failed to hear of it.
-- KEYS: leader, attempt hash.  ARGV: epoch, beat, new token.
local epoch = redis.call('GET', KEYS[1])
if epoch and tonumber(epoch) > tonumber(ARGV[1]) then return 0 end
local token = tonumber(redis.call('HGET', KEYS[2], 'token') or '0')
if token == tonumber(ARGV[3]) and redis.call('HGET', KEYS[2], 'nonce') == '' then return 1 end
if token ~= tonumber(ARGV[3]) - 1 then return 0 end
if (redis.call('HGET', KEYS[2], 'beat') or '0') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], 'token', ARGV[3], 'nonce', '')
return 1
"""

"""`python -m augury.server`: the server process, of the local instance or shared by many."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from augury.dispatch import health
from augury.errors import AuguryError, UnavailableError, UsageError
from augury.server import leading, process, settings, shared
from augury.server.service import Service


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server until it is asked to end (exit code 0)."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    os.umask(0o077)
    # Before numpy is loaded: on matrices this small a second BLAS thread only costs.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        if options.home is not None:
            _serve_local(options.home)
        else:
            _serve_shared(options)
    except AuguryError as error:
        print(f"augury server: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _serve_local(home: Path) -> None:
    service = Service(settings.read_local(home))
    listening = process.listen(service.settings.host, 0)
    url = f"http://{service.settings.host}:{listening.getsockname()[1]}"
    service.start()
    try:
        process.serve(service, listening, (), lambda: process.write_instance(service, url))
    finally:
        # No file is how everybody learns that this end was wanted.
        (home / "instance.json").unlink(missing_ok=True)
        service.stop()


def _serve_shared(options: argparse.Namespace) -> None:
    state = shared.state_folder(options.state_dir)
    shared.make_secret(state)
    config = settings.read_cluster(state, options.listen)
    notices = health.check(config.redis_url, insecure=options.insecure)
    listening = process.listen(config.host, config.port)
    url = shared.public_url(config, options.url, listening.getsockname()[1])
    try:
        lead = leading.lead_of(config.database_url)
        waited = leading.wait_to_lead(lead, lambda sentence: print(sentence, flush=True))
        service = Service(config)
    except (UnavailableError, UsageError) as error:
        raise type(error)(f"AUGURY_DATABASE_URL: {error}") from error
    watch = leading.Leading(lead, service.store)
    service.start()
    watch.start()
    try:
        # The one that led before has made the admin's token; in a folder of its own, if not in this one.
        first_token = None if waited else shared.make_first_token(service)
        text = shared.announce(config, url, first_token, notices)
        process.serve(service, listening, shared.names(config, url), lambda: print(text, flush=True))
    finally:
        service.stop()
        watch.stop()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="augury server")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--home", type=Path, metavar="DIR", help="serve the local instance in this folder")
    kind.add_argument("--listen", metavar="HOST:PORT", help="serve many users at this address")
    parser.add_argument("--url", help="how others reach this server, where that is not plain HOST:PORT")
    parser.add_argument(
        "--state-dir", type=Path, metavar="DIR", help="folder of key, token, logs and outputs"
    )
    parser.add_argument(
        "--insecure", action="store_true", help="accept a broker on the network without password"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

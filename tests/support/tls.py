"""TLS for a broker that has none: an authority, a certificate, and a front that takes the TLS off."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import subprocess
import threading
from pathlib import Path

import pytest


class Authority:
    """A certificate authority of one's own, and one certificate by it, for 127.0.0.1."""

    def __init__(self, folder: Path, name: str) -> None:
        if shutil.which("openssl") is None:
            if os.environ.get("CI"):
                pytest.fail("openssl makes the certificates")
            pytest.skip("openssl makes the certificates")
        self.file, self.certificate = folder / f"{name}-ca.pem", folder / f"{name}.pem"
        self.key = folder / f"{name}.key"
        ca_key, new = (
            folder / f"{name}-ca.key",
            ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"],
        )
        subject = ["-subj", f"/CN={name}", "-out", str(self.file), "-keyout", str(ca_key)]
        _openssl(*new, *subject, "-addext", "keyUsage=critical,keyCertSign")
        # A request by the authority's key, so that one command makes the certificate.
        subject = ["-subj", "/CN=broker", "-out", str(self.certificate), "-keyout", str(self.key)]
        names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
        _openssl(*new, *subject, *names, "-CA", str(self.file), "-CAkey", str(ca_key))


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


class Front:
    """Listens with TLS at a free port and passes what comes on to a port without."""

    def __init__(self, target: int, authority: Authority) -> None:
        self._target = target
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(authority.certificate, authority.key)
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda *_: None)  # clients that do not trust it go away
        self.connections = 0
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._pass_on, "127.0.0.1", 0, ssl=self._context)
        )
        self.port = int(self._server.sockets[0].getsockname()[1])
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more, and drop all connections."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, back), _copy(there, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()

"""Where a user's local instance lives: one private folder on a local disk, and a short one for the socket.

Nothing here starts or talks to a process. `locate` finds the folder from the environment, `Home` names the
files in it, and `private_folder` is the one rule by which every folder of the instance is made: mode 0700,
owned by the caller, never a link, never a folder that somebody else uses.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pwd
import re
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from augury.errors import UnavailableError

Notify = Callable[[str], None]

#: Longest path of a Unix socket that every system takes (Linux 107 bytes, macOS 103), with a margin.
SOCKET_PATH_LIMIT = 100

#: Folders of the machine, not of a user, that hold an instance when the home folder cannot.
LOCAL_STATE_FOLDER = Path("/var/tmp")
SHORT_FOLDERS = (Path("/tmp"), Path("/var/tmp"))

#: File systems on which SQLite's write-ahead log and file locks cannot be trusted.
NETWORK_FILE_SYSTEMS = re.compile(
    "9p|afs|beegfs|ceph|cifs|coda|davfs|fhgfs|glusterfs|gpfs|lustre|ncpfs|nfs4?|orangefs|panfs|pvfs2|smb[23]"
    "|smbfs|virtiofs|wekafs"
)
#: FUSE file systems that are local all the same; every other `fuse.*` counts as a network one.
LOCAL_FUSE = frozenset({"fuseblk", "fuse.fuse-overlayfs", "fuse.overlayfs", "fuse.ntfs-3g", "fuse.gocryptfs"})

#: Any of these marks a folder as one that Augury made.
_OWN_FILES = ("keeper.lock", "instance.json", "store.db", "secret")


@dataclass(frozen=True, slots=True)
class Home:
    """Names of everything in the folder of one local instance."""

    path: Path

    @property
    def instance_file(self) -> Path:
        """URL, token and version of the server, written by the server once it listens."""
        return self.path / "instance.json"

    @property
    def keeper_file(self) -> Path:
        """What the keeper knows about its parts, for `doctor` and for error messages."""
        return self.path / "keeper.json"

    @property
    def secret_file(self) -> Path:
        """Key that signs orders (`AUGURY_SECRET_FILE`)."""
        return self.path / "secret"

    @property
    def logs(self) -> Path:
        """Folder of the parts' logs."""
        return self.path / "logs"

    @property
    def slots_file(self) -> Path:
        """The `AUGURY_SLOTS` that a start of the instance was last given."""
        return self.path / "slots"

    @property
    def worker_state(self) -> Path:
        """State folder of the local worker."""
        return self.path / "worker"

    @property
    def broker_data(self) -> Path:
        """Folder of the broker's append-only file."""
        return self.path / "valkey"

    def lock(self, part: str) -> Path:
        """Lock file that `part` holds for as long as it lives."""
        return self.path / f"{part}.lock"

    def log(self, part: str) -> Path:
        """Log file of `part`."""
        return self.logs / f"{part}.log"

    def prepare(self) -> None:
        """Make the folders of the instance, all of them 0700.

        Raises:
            UnavailableError: one of them cannot be made or is not the caller's own.
        """
        for folder in (self.path, self.logs, self.worker_state, self.broker_data):
            private_folder(folder)

    def socket(self, *, make: bool = True) -> Path:
        """Return the path of the broker's socket, and make its folder unless `make` is false.

        The home folder itself when its path is short and plain (the path becomes part of URLs), else
        `/tmp/augury-<uid>/<hash of the home>`. It never depends on the environment: the keeper that comes
        after this one finds the same socket, and `$XDG_RUNTIME_DIR` is removed when the ssh session ends.

        Raises:
            UnavailableError: no folder for the socket is free of other users' hands.
        """
        in_home = self.path / "valkey.sock"
        if len(os.fsencode(in_home)) <= SOCKET_PATH_LIMIT and re.fullmatch(r"[A-Za-z0-9_./-]+", str(in_home)):
            return in_home
        reasons = []
        for parent in SHORT_FOLDERS:
            try:
                folder = private_folder(parent / f"augury-{os.geteuid()}", make=make)
                return private_folder(folder / folder_hash(self.path), make=make) / "valkey.sock"
            except UnavailableError as error:
                reasons.append(str(error))
        raise UnavailableError("no private folder for the broker's socket: " + "; ".join(reasons))

    def leave_socket_folder(self) -> None:
        """Remove what `socket` made outside the home, once the broker has ended."""
        folder = self.socket().parent
        if folder != self.path:
            (folder / "valkey.sock").unlink(missing_ok=True)
            try:
                folder.rmdir()
            except OSError:
                pass


def locate(
    environment: Mapping[str, str] | None = None, notify: Notify | None = None, *, make: bool = True
) -> Home:
    """Return the local instance's home: `AUGURY_HOME`, else `~/.augury`, else a folder in `/var/tmp`.

    A home on a network file system keeps nothing: its state moves to a folder of this machine, and `notify`
    is told so when that folder is first made. The folder returned exists and is private; without `make`
    nothing is made or changed, and it may not exist yet.

    Raises:
        UnavailableError: the folder cannot be made, written, or belongs to somebody else.
    """
    environment = os.environ if environment is None else environment
    wanted = _wanted_folder(environment)
    kind = file_system(wanted)
    if is_network(kind) and not is_network(file_system(LOCAL_STATE_FOLDER)):
        local = private_folder(_machine_folder(), make=make) / folder_hash(wanted)
        if not local.exists() and notify is not None:
            notify(
                f"{wanted} is on a network file system ({kind}): the local instance of this machine keeps "
                f"its state in {local}. The system may clean that folder after 30 days without use; set "
                "AUGURY_HOME to a folder on a local disk to choose another."
            )
        wanted = local
    return Home(private_folder(wanted, named_by_user=bool(environment.get("AUGURY_HOME")), make=make))


def private_folder(path: Path, *, named_by_user: bool = False, make: bool = True) -> Path:
    """Make `path` a folder that only the caller can enter (0700) and return it.

    An existing folder of the caller's that others can enter is closed to them. One whose name the user gave
    may be anything (`AUGURY_HOME=/tmp`): it is closed if it is empty or Augury's own, and else refused.
    Without `make` it is only looked at.

    Raises:
        UnavailableError: the folder cannot be made or written, is a link or file, or is somebody else's.
    """
    if make:
        _make(path)
    elif not os.path.lexists(path):
        place = nearest_folder(path)
        if not os.access(place, os.W_OK | os.X_OK):
            raise UnavailableError(f"cannot make the folder {path}: {place} is not writable. {_FIX}")
        return path
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        found = path.stat() if _link_is_own(found) else found
    if not stat.S_ISDIR(found.st_mode):
        raise UnavailableError(f"{path} is not a folder. {_FIX}")
    if found.st_uid != os.geteuid():
        raise UnavailableError(f"the folder {path} belongs to {user_name(found.st_uid)}, not to you. {_FIX}")
    if found.st_mode & 0o077:
        if named_by_user:
            _check_it_is_ours(path, stat.S_IMODE(found.st_mode))
        if make:
            path.chmod(0o700)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise UnavailableError(f"the folder {path} is not writable for you (mode {_octal(path)}). {_FIX}")
    return path


def _make(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        pass
    except OSError as error:
        raise UnavailableError(f"cannot make the folder {path}: {error.strerror}. {_FIX}") from error


def nearest_folder(path: Path) -> Path:
    """Return the deepest folder above `path`, or `path` itself, that exists."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def file_system(path: Path, mounts: str | None = None) -> str:
    """Return the type of the file system that holds `path` (`ext4`, `nfs4`), or "" where it is unknown."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text(errors="surrogateescape")
        except OSError:
            return ""
    real = os.path.realpath(path) + "/"
    best, kind = -1, ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = _unescape(fields[1]).rstrip("/") + "/"
        if real.startswith(point) and len(point) >= best:
            best, kind = len(point), fields[2]
    return kind


def is_network(kind: str) -> bool:
    """Tell whether a file system of this type may be shared with other machines."""
    return NETWORK_FILE_SYSTEMS.fullmatch(kind) is not None or (
        kind.startswith("fuse.") and kind not in LOCAL_FUSE
    )


def folder_hash(path: Path) -> str:
    """Return 12 letters that stand for `path` in the name of another folder."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def user_name(uid: int) -> str:
    """Return the name of a user, or `uid 1234` when the machine does not know it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


@functools.cache
def own_version() -> str:
    """Return the version of the installed `augury` distribution, `unknown` when it is not installed.

    The name of the metadata folder holds it; `importlib.metadata` would cost every command 30 ms.
    """
    for entry in sys.path:
        try:
            with os.scandir(entry or ".") as found:
                names = [item.name for item in found]
        except OSError:
            continue
        for name in names:
            if name.startswith("augury-") and name.endswith(".dist-info"):
                return name.removeprefix("augury-").removesuffix(".dist-info")
    return "unknown"


_FIX = "Set AUGURY_HOME to a folder of your own."


def _wanted_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder that the environment asks for, before network file systems are considered."""
    given = environment.get("AUGURY_HOME")
    if given:
        try:
            return Path(given).expanduser().absolute()
        except (RuntimeError, OSError) as error:
            raise UnavailableError(f"AUGURY_HOME={given} leads nowhere: {error}") from error
    for home in _home_folders(environment):
        if _usable_home(home):
            return home / ".augury"
    return _machine_folder()


def _home_folders(environment: Mapping[str, str]) -> list[Path]:
    """Return `$HOME` and the home folder of the user database, as far as they exist."""
    found = [environment.get("HOME", "")]
    try:
        found.append(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        pass
    return [Path(home) for home in found if home.startswith("/")]


def _usable_home(home: Path) -> bool:
    """Tell whether `<home>/.augury` is, or can become, the caller's own folder.

    Under `sudo` the home may still be that of the user: root must not make folders there that lock the
    user out, so for root the home itself must be root's.
    """
    own = home / ".augury"
    try:
        if own.exists():
            return own.stat().st_uid == os.geteuid() and os.access(own, os.W_OK | os.X_OK)
        foreign = home.stat().st_uid != os.geteuid()
    except OSError:
        return False
    return os.access(home, os.W_OK | os.X_OK) and not (foreign and os.geteuid() == 0)


def _machine_folder() -> Path:
    return LOCAL_STATE_FOLDER / f"augury-{os.geteuid()}"


def _link_is_own(found: os.stat_result) -> bool:
    """A link that the caller or root made is followed; one that another user planted is not."""
    return found.st_uid in (0, os.geteuid())


def _check_it_is_ours(path: Path, mode: int) -> None:
    names = {item.name for item in path.iterdir()}
    if names and not names.intersection(_OWN_FILES):
        raise UnavailableError(
            f"the folder {path} is open to other users (mode {mode:04o}) and holds other things. "
            "Set AUGURY_HOME to a folder of its own."
        )


def _octal(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


def _unescape(text: str) -> str:
    """Undo the octal escapes of /proc/mounts (`\\040` is a space)."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), text)

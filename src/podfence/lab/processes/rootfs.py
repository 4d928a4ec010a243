# SPDX-License-Identifier: Apache-2.0
"""What a pod sees as its files: the machine's own, read-only, with private places to write; or those of an image."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from podfence.lab import kernel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podfence.lab.objects.containers import PodSpec

OWN: Final = Path("/run/podfence")
"""Where a pod keeps what is only its own."""

_STORE_PLACES: Final = ("/mnt", "/media", "/srv", "/opt")
_WRITABLE: Final = ("/tmp", "/var/tmp", "/var/log", "/var/lib/redis", "/var/lib/nginx", "/dev/shm")  # noqa: S108 - these are mounted over
_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS: Final = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}

# Debian's busybox is built without wget's timeout and dies of a signal when it is given one. As in the real
# one, looking up the name is not part of it.
_WGET: Final = """\
#!{busybox} sh
seconds= url= pending=
for word; do
    shift
    case $pending$word in
        T*) seconds=${{word#-T}} pending= ; continue ;;
    esac
    case $word in
        --timeout=*) seconds=${{word#*=}} ; continue ;;
        --timeout) pending=T ; continue ;;
        --*) ;;
        -*T) pending=T ; word=${{word%T}} ; [ "$word" = - ] && continue ;;
        -*T[0-9]*) seconds=${{word##*T}} word=${{word%T*}} ; [ "$word" = - ] && continue ;;
        -) ;;
        -*) ;;
        *) url=$word ;;
    esac
    set -- "$@" "$word"
done
[ "$seconds" ] || exec {busybox} wget "$@"
host=${{url#*://}} host=${{host%%/*}} host=${{host##*@}}
case $host in
    \\[*) ;;
    *) getent ahosts "${{host%%:*}}" >/dev/null || {{ echo "wget: bad address '$host'" >&2; exit 1; }} ;;
esac
{timeout} --foreground "$seconds" {busybox} wget "$@"
code=$?
[ $code = 124 ] || exit $code
echo "wget: download timed out" >&2
exit 1
"""

# Debian's nc knows neither -v nor -z, with which most people look whether a port is open.
_NC: Final = """\
#!{busybox} sh
scan= say=
for word; do
    shift
    case $word in
        -*[!vzwn0-9]*) ;;
        -*[vzn]*)
            case $word in *z*) scan=1 ;; esac
            case $word in *v*) say=1 ;; esac
            word=$(echo "$word" | {busybox} tr -d vzn)
            [ "$word" = - ] && continue ;;
    esac
    set -- "$@" "$word"
done
[ $scan$say ] || exec {busybox} nc "$@"
# Whether there is a connection is known when it has ended; so one is made before that which is to be used.
input=$({busybox} readlink /proc/self/fd/0)
case $scan$input in
    /dev/null) {busybox} nc "$@" || exit ;;
    *) {busybox} nc "$@" </dev/null >/dev/null || exit ;;
esac
if [ $say ]; then
    for word; do host=$port port=$word; done
    address=$(getent ahosts "$host" | {busybox} sed -n '1s/ .*//p')
    echo "$host (${{address:-$host}}:$port) open" >&2
fi
[ "$scan" ] || [ "$input" = /dev/null ] || exec {busybox} nc "$@"
exit 0
"""


def pod_files(spec: PodSpec) -> dict[str, str]:
    """Return the texts of a pod's own files in /etc, as the kubelet writes them for its specification."""
    names = {"search": spec.dns_search, "nameserver": (spec.dns_server,), "options": spec.dns_options}
    hosts = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    hosts += [f"{address}\t{spec.hostname}" for address in spec.addresses]
    return {
        "resolv.conf": "".join(f"{word} {' '.join(values)}\n" for word, values in names.items() if any(values)),
        "hosts": "".join(f"{line}\n" for line in hosts),
        "hostname": f"{spec.hostname}\n",
        # Names are asked of the pod's DNS, whatever services the machine asks.
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    }


def own_folder(mode: str) -> Path:
    """Mount a folder in memory for this process's mount namespace, which must be its own; return where it is.

    `mode` is in octal digits. Raises OSError.
    """
    place = next(place for place in _STORE_PLACES if Path(place).is_dir())
    kernel.mount("none", "/", flags=kernel.RECURSIVE | kernel.PRIVATE)
    kernel.mount("podfence", place, "tmpfs", kernel.NO_SUID | kernel.NO_DEVICES, f"mode={mode}")
    return Path(place)


def make_store(search_path: str) -> Path:
    """Make the folder that all pods will see (read-only), with the tools for them in it; return where it is.

    Call it in a mount namespace of its own. `search_path` is where busybox is looked for. Raises OSError.
    """
    store = own_folder("755")
    tools = store / "bin"
    tools.mkdir()
    (store / "images").mkdir()
    busybox = shutil.which("busybox", path=search_path)
    if busybox is not None:
        _link_tools(Path(busybox).resolve(), tools, search_path)
    return store


def _link_tools(busybox: Path, tools: Path, search_path: str) -> None:
    """Fill a folder with busybox's applets under their names."""
    names = subprocess.run((busybox, "--list"), capture_output=True, text=True, check=True).stdout.split()
    for name in names:
        (tools / name).symlink_to(busybox)
    timeout = shutil.which("timeout", path=search_path)
    for name, option, script in (("wget", "-T SEC", _WGET), ("nc", "-z", _NC)):
        text = subprocess.run((busybox, name, "--help"), capture_output=True, text=True, check=False)
        if name in names and timeout is not None and option not in text.stdout + text.stderr:
            (tools / name).unlink()
            (tools / name).write_text(script.format(busybox=busybox, timeout=timeout))
            (tools / name).chmod(0o755)


def make_proc() -> None:
    """Mount /proc for this PID namespace, where the kernel allows that.

    It does not where parts of the machine's /proc are hidden, as in many containers; the old one stays then.
    """
    with suppress(OSError):
        kernel.mount("proc", "/proc", "proc", kernel.NO_SUID | kernel.NO_DEVICES | kernel.NO_PROGRAMS)


def prepare(files: Mapping[str, str]) -> None:
    """Make this process's mount namespace, which must be its own, that of a pod with these files. Raises OSError."""
    # Older kernels cannot do that for all mounts at once; a pod could then change what its user may change.
    with suppress(OSError):
        kernel.make_read_only("/")
    make_proc()
    kernel.mount("pod", "/run", "tmpfs", kernel.NO_SUID | kernel.NO_DEVICES, "mode=755")
    for number, place in enumerate(_WRITABLE):
        if Path(place).is_dir():
            private = OWN / "writable" / str(number)
            private.mkdir(parents=True)
            private.chmod(0o1777)
            kernel.mount(str(private), place, flags=kernel.BIND)
    Path("/var/log/nginx").mkdir(exist_ok=True)
    own = OWN / "etc"
    own.mkdir(parents=True)
    for name, content in files.items():
        (own / name).write_text(content)
        with suppress(FileNotFoundError):
            _bind_file(own / name, Path("/etc") / name)


def _bind_file(source: Path, target: Path) -> None:
    """Put a file in the place of another, also where that is a link into /run, which is empty now."""
    resolved = Path(os.path.realpath(target))
    if resolved.is_relative_to("/run") and not resolved.exists():
        resolved.parent.mkdir(parents=True, exist_ok=True)
        resolved.touch()
    kernel.mount(str(source), str(resolved), flags=kernel.BIND)


def enter_image(image: Path, place: Path) -> None:
    """Give this process, in a mount namespace of its own, the files of an unpacked image as its root.

    `place` is a folder in memory for what it writes. The pod's /proc and names come along. Raises OSError.
    """
    kernel.unshare(kernel.NEW_MOUNT)
    upper, work, root = (place / name for name in ("upper", "work", "root"))
    for folder in (upper, work, root):
        folder.mkdir(parents=True)
    kernel.mount("image", str(root), "overlay", options=f"lowerdir={image},upperdir={upper},workdir={work}")
    for name in ("proc", "dev", "sys", "etc", "tmp", "run"):
        (root / name).mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    kernel.mount("/proc", str(root / "proc"), flags=kernel.BIND | kernel.RECURSIVE)
    with suppress(OSError):
        kernel.mount("/sys", str(root / "sys"), flags=kernel.BIND | kernel.RECURSIVE)
    _make_devices(root / "dev")
    for name in ("resolv.conf", "hosts", "hostname"):
        target = root / "etc" / name
        if target.is_symlink():
            target.unlink()
        target.touch()
        kernel.mount(str(OWN / "etc" / name), str(target), flags=kernel.BIND)
    kernel.change_root(str(root))


def _make_devices(folder: Path) -> None:
    kernel.mount("dev", str(folder), "tmpfs", kernel.NO_SUID, "mode=755")
    for name in _DEVICES:
        (folder / name).touch()
        with suppress(OSError):
            kernel.mount(f"/dev/{name}", str(folder / name), flags=kernel.BIND)
    for name, target in _LINKS.items():
        (folder / name).symlink_to(target)
    for name in ("pts", "shm"):
        (folder / name).mkdir()
        with suppress(OSError):
            kernel.mount(f"/dev/{name}", str(folder / name), flags=kernel.BIND)

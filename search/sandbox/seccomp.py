"""System calls that no training run needs, refused by the kernel: a seccomp filter.

Namespaces do not cover everything: a socket of the family AF_VSOCK reaches the host of a virtual machine from any
network namespace, keyrings are inherited, and some memory is counted to nobody: that of files without a name, that
which is shared and was let go of, and what the kernel keeps for queues and semaphores. And who counts open files would
miss those that one thread has to itself, or that are on their way through a socket.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys

# Numbers as in the kernel's tables: x86_64, then aarch64; None where there is no such call.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "setns": (308, 268),
    "unshare": (272, 97),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "open_by_handle_at": (304, 265),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "memfd_secret": (447, 447),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "syslog": (103, 116),
}
# Answered as by a kernel that lacks them, for which every caller has another way: clone3 hides its flags from a filter.
_ABSENT: dict[str, tuple[int, int]] = {"clone3": (435, 435), "memfd_create": (319, 279)}
# By these, open files can be sent on their way.
_SENDING = ((46, 211), (307, 269))
_SOCKET = (41, 198)
_CLONE = (56, 220)
_MMAP = (9, 222)
_CLOSE_RANGE = (436, 436)
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

_AF_UNIX = 1
_AF_LOOPBACK = (2, 10, 16)  # inet, inet6, and netlink, by which addresses are listed
_NAMESPACE_FLAGS = 0x7E020000  # every CLONE_NEW* that clone takes
_THREAD, _SAME_FILES, _OWN_FILES = 0x00010000, 0x00000400, 0x2
_ANONYMOUS, _SHARED = 0x20, 0x01  # the latter is in MAP_SHARED_VALIDATE too
_X32_CALLS = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16

_PR_SET_SECCOMP, _FILTER = 22, 2


def _filter_word(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One instruction of the kernel's packet filter; the jumps count instructions to leave out."""
    return struct.pack("<HBBI", code, if_true, if_false, operand)


_REFUSAL, _ALLOWED = _filter_word(_RETURN, _ERRNO | errno.EPERM), _filter_word(_RETURN, _ALLOW)
_CLONE_TESTS = (
    _filter_word(_ANY_BIT, _NAMESPACE_FLAGS, 2, 0),
    _filter_word(_ANY_BIT, _THREAD, 0, 2),
    _filter_word(_ANY_BIT, _SAME_FILES, 1, 0),
    _REFUSAL,
    _ALLOWED,
)
_MMAP_TESTS = (_filter_word(_ANY_BIT, _ANONYMOUS, 0, 2), _filter_word(_ANY_BIT, _SHARED, 0, 1), _REFUSAL, _ALLOWED)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install(libc: ctypes.CDLL, *, gpu: bool, loopback: bool) -> None:
    """Refuse them to this process and its children, for good; needs no_new_privs.

    Of sockets, unix ones alone are allowed; with `loopback` those of the internet too, by which several devices meet:
    in a cell's own network they reach nothing but the cell, and Python's starter of processes hands open files on.
    CUDA may want memory files and shared memory without a name, so a GPU's inmate keeps those.
    On a processor whose numbers are not known there is no filter, and the self-test says so. Raises OSError.
    """
    machine = platform.machine()
    if machine not in _ARCHITECTURES or sys.byteorder != "little":
        return
    code = _code(machine, gpu=gpu, loopback=loopback)
    program = _Program(len(code) // 8, code)
    if libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.addressof(program), 0, 0):
        raise OSError(ctypes.get_errno(), "no seccomp filter could be installed")


def _code(machine: str, *, gpu: bool, loopback: bool) -> bytes:
    column, architecture = _ARCHITECTURES[machine]
    refuse = _ERRNO | errno.EPERM
    code = [
        *_filter_word(_LOAD, _ARCHITECTURE_AT),
        *_filter_word(_EQUAL, architecture, 1, 0),
        *_REFUSAL,
        *_filter_word(_LOAD, _NUMBER_AT),
        *_filter_word(_AT_LEAST, _X32_CALLS, 0, 1),
        *_REFUSAL,
    ]
    for numbers in _REFUSED.values():
        code += _answer(numbers[column], refuse)
    for name, absent in _ABSENT.items():
        if not (gpu and name == "memfd_create"):
            code += _answer(absent[column], _ERRNO | errno.ENOSYS)
    if not (gpu or loopback):
        code += b"".join(_answer(numbers[column], refuse) for numbers in _SENDING)
    families = (_AF_UNIX, *_AF_LOOPBACK) if loopback else (_AF_UNIX,)
    allowed = [part for family in families for part in (_filter_word(_EQUAL, family, 0, 1), _ALLOWED)]
    code += _by_argument(_SOCKET[column], 0, *allowed, _filter_word(_RETURN, _ERRNO | errno.EACCES))
    code += _by_argument(_CLONE[column], 0, *_CLONE_TESTS)
    code += _by_argument(_CLOSE_RANGE[column], 2, _filter_word(_ANY_BIT, _OWN_FILES, 0, 1), _REFUSAL, _ALLOWED)
    if not gpu:
        code += _by_argument(_MMAP[column], 3, *_MMAP_TESTS)
    return bytes([*code, *_ALLOWED])


def _answer(number: int | None, value: int) -> bytes:
    return b"" if number is None else _filter_word(_EQUAL, number, 0, 1) + _filter_word(_RETURN, value)


def _by_argument(number: int, place: int, *tests: bytes) -> bytes:
    """Instructions for one call alone, which test the argument at a place, counted from 0; the last one answers."""
    load = _filter_word(_LOAD, _ARGUMENTS_AT + 8 * place)
    return _filter_word(_EQUAL, number, 0, 1 + len(tests)) + load + b"".join(tests)

"""System calls that no training run needs, refused by the kernel: a seccomp filter.

Namespaces do not cover everything: a socket of the family AF_VSOCK reaches the host of a virtual machine from any
network namespace, keyrings are inherited, and memory in files without a name is counted to nobody.
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
_SOCKET = (41, 198)
_CLONE = (56, 220)
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

_AF_UNIX = 1
_AF_LOOPBACK = (2, 10, 16)  # inet, inet6, and netlink, by which addresses are listed
_NAMESPACE_FLAGS = 0x7E020000  # every CLONE_NEW* that clone takes
_X32_CALLS = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16

_PR_SET_SECCOMP, _FILTER = 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install(libc: ctypes.CDLL, *, gpu: bool, loopback: bool) -> None:
    """Refuse them to this process and its children, for good; needs no_new_privs.

    Of sockets, unix ones alone are allowed; with `loopback` those of the internet too, by which several devices meet:
    in a cell's own network they reach nothing but the cell. CUDA may want memory files, so a GPU's inmate keeps those.
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
        *_filter_word(_RETURN, refuse),
        *_filter_word(_LOAD, _NUMBER_AT),
        *_filter_word(_AT_LEAST, _X32_CALLS, 0, 1),
        *_filter_word(_RETURN, refuse),
    ]
    for numbers in _REFUSED.values():
        code += _answer(numbers[column], refuse)
    for name, absent in _ABSENT.items():
        if not (gpu and name == "memfd_create"):
            code += _answer(absent[column], _ERRNO | errno.ENOSYS)
    families = (_AF_UNIX, *_AF_LOOPBACK) if loopback else (_AF_UNIX,)
    code += _by_first_argument(_SOCKET[column], _EQUAL, families, (_ALLOW, _ERRNO | errno.EACCES))
    code += _by_first_argument(_CLONE[column], _ANY_BIT, (_NAMESPACE_FLAGS,), (refuse, _ALLOW))
    return bytes([*code, *_filter_word(_RETURN, _ALLOW)])


def _answer(number: int | None, value: int) -> bytes:
    return b"" if number is None else _filter_word(_EQUAL, number, 0, 1) + _filter_word(_RETURN, value)


def _by_first_argument(number: int, test: int, operands: tuple[int, ...], answers: tuple[int, int]) -> bytes:
    """The first answer where the call's first argument passes the test with one of the operands, else the second."""
    tests = b"".join(_filter_word(test, operand, 0, 1) + _filter_word(_RETURN, answers[0]) for operand in operands)
    return b"".join(
        (
            _filter_word(_EQUAL, number, 0, 2 + 2 * len(operands)),
            _filter_word(_LOAD, _FIRST_ARGUMENT_AT),
            tests,
            _filter_word(_RETURN, answers[1]),
        )
    )


def _filter_word(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One instruction of the kernel's packet filter; the jumps count instructions to leave out."""
    return struct.pack("<HBBI", code, if_true, if_false, operand)

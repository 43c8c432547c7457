"""What the GPU index needs of NVIDIA's driver: which cards there are, their memory, and blocks of it.

The driver's own library is asked, not the CUDA runtime, because it is there wherever a card works and has one
name for all versions of CUDA.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LIBRARY = "libcuda.so.1"
OUT_OF_MEMORY = 2
NAME_BYTES = 256
ON_HOST, ON_CARD = 1, 2  # kinds of memory


class NoCard(Exception):
    """There is no card to work on; the text is for operators."""


class CardError(Exception):
    """The driver refused a call; the text is the driver's."""


class CardFull(CardError):
    """The card has not that much memory left."""


class _Copy(ctypes.Structure):
    """The driver's CUDA_MEMCPY2D."""

    _fields_ = (
        ("source_x", ctypes.c_size_t),
        ("source_y", ctypes.c_size_t),
        ("source_type", ctypes.c_int),
        ("source_host", ctypes.c_void_p),
        ("source_card", ctypes.c_uint64),
        ("source_array", ctypes.c_void_p),
        ("source_pitch", ctypes.c_size_t),
        ("target_x", ctypes.c_size_t),
        ("target_y", ctypes.c_size_t),
        ("target_type", ctypes.c_int),
        ("target_host", ctypes.c_void_p),
        ("target_card", ctypes.c_uint64),
        ("target_array", ctypes.c_void_p),
        ("target_pitch", ctypes.c_size_t),
        ("width", ctypes.c_size_t),
        ("height", ctypes.c_size_t),
    )


@dataclass(frozen=True, slots=True)
class Memory:
    free: int
    total: int


def library() -> ctypes.CDLL:
    """Raises NoCard."""
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError:
        raise NoCard("No NVIDIA driver is installed.") from None


class Driver:
    """The driver in use of one card, in this process, by the thread that made it."""

    def __init__(self, device: int) -> None:
        """Raises NoCard."""
        self._library = library()
        try:
            self._call("cuInit", 0)
        except CardError as problem:
            raise NoCard(f"The NVIDIA driver found no GPU that works ({problem}).") from None
        count = ctypes.c_int()
        self._call("cuDeviceGetCount", ctypes.byref(count))
        self.cards = count.value
        if device >= self.cards:
            raise NoCard(f"There is no GPU {device}; {self.cards} found, numbered from 0.")
        handle = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(handle), device)
        name = ctypes.create_string_buffer(NAME_BYTES)
        self._call("cuDeviceGetName", name, NAME_BYTES, handle)
        self.name = name.value.decode(errors="replace")
        context = ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), handle)
        self._call("cuCtxSetCurrent", context)

    @property
    def version(self) -> str:
        """The newest CUDA that the driver serves, such as `13.0`."""
        number = ctypes.c_int()
        self._call("cuDriverGetVersion", ctypes.byref(number))
        return f"{number.value // 1000}.{number.value % 1000 // 10}"

    def memory(self) -> Memory:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return Memory(free.value, total.value)

    def allocate(self, size: int) -> int:
        """The address of `size` bytes on the card.

        Raises:
            CardFull: there is no such block.
        """
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return address.value

    def free(self, address: int) -> None:
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def clear(self, address: int, size: int) -> None:
        """Fill with zeros; returns at once, see `wait`."""
        self._call("cuMemsetD8_v2", ctypes.c_uint64(address), ctypes.c_ubyte(0), ctypes.c_size_t(size))

    def upload(self, address: int, rows: NDArray[np.uint16], pitch: int = 0) -> None:
        """Copy rows (n, d) to the card, each `pitch` bytes after the one before, without it side by side.

        May return before the copy is complete, see `wait`; the rows are no longer needed then.
        """
        width = rows.shape[1] * rows.itemsize
        plan = _Copy(
            source_type=ON_HOST,
            source_host=rows.ctypes.data,
            source_pitch=width,
            target_type=ON_CARD,
            target_card=address,
            target_pitch=pitch or width,
            width=width,
            height=len(rows),
        )
        self._call("cuMemcpy2D_v2", ctypes.byref(plan))

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy within the card; returns at once, see `wait`."""
        self._call("cuMemcpyDtoD_v2", ctypes.c_uint64(target), ctypes.c_uint64(source), ctypes.c_size_t(size))

    def wait(self) -> None:
        """Until everything asked of the card is done."""
        self._call("cuCtxSynchronize")

    def _call(self, function: str, *arguments: object) -> None:
        code = int(getattr(self._library, function)(*arguments))
        if code == OUT_OF_MEMORY:
            raise CardFull("out of memory")
        if code:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(code, ctypes.byref(text))
            raise CardError((text.value or b"unknown error").decode() + f", {function} {code}")

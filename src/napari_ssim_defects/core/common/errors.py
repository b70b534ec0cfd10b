"""The exception for unusable input, errors of memory, and plurals in their sentences."""

from __future__ import annotations

__all__ = ["NOT_ENOUGH_MEMORY", "InputError", "counted", "is_out_of_memory"]

NOT_ENOUGH_MEMORY = "There is not enough memory; use smaller images or fewer of them."
"""Message where nothing more precise is known."""

# Texts of PyTorch, the C library, cuBLAS and cuDNN.
_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "alloc_failed",
    "unable to find an engine to execute",
)


class InputError(ValueError):
    """Input that cannot be used.

    The message is one sentence that says what is wrong and what to do about it. The command
    line prints it and exits with status 2; the panel shows it; nothing has been changed or
    written when it is raised.
    """


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device.

    Examples
    --------
    >>> is_out_of_memory(RuntimeError("MPS backend out of memory"))
    True
    >>> is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    False
    """
    # Recognised by its text, so that PyTorch need not be imported for its classes of errors.
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in text for words in _OUT_OF_MEMORY)
    )


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural if it is not one.

    Examples
    --------
    >>> counted(1, "region"), counted(2, "region")
    ('1 region', '2 regions')
    """
    return f"{number} {noun}{'s' * (number != 1)}"

"""The one exception that speaks to the person who gave the input, and the errors of memory."""

from __future__ import annotations

__all__ = ["NOT_ENOUGH_MEMORY", "InputError", "is_out_of_memory"]

NOT_ENOUGH_MEMORY = "There is not enough memory; use smaller images or fewer of them."
"""What a person is told where nothing more precise is known."""

# As PyTorch, the C library, cuBLAS and cuDNN have it.
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
    # Told by their text: PyTorch, which has errors of its own, is not imported only to ask.
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in text for words in _OUT_OF_MEMORY)
    )

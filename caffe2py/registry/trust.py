"""What a net may do besides computing: nets from disk do what whoever wrote the file wants.

An operator declares what it needs (`operator(..., needs="files")`). The workspace that a net is
bound to says what is granted; its children inherit that.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from caffe2py.errors import RegistrationError, TrustError, UsageError

__all__ = ["NEEDS", "SAFE", "TRUSTED", "Need", "Trust", "parse_needs"]

#: Everything that an operator can need -> what it does then, and what lifts the refusal.
NEEDS = {
    "python": ("calls a Python function", "--trust python"),
    "files": ("opens files", "--allow-dir DIR for files below DIR, or --trust files for all"),
}


@dataclass(frozen=True)
class Need:
    """What an operator needs; with `arguments`, only where one of these is true."""

    what: str
    arguments: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Need:
        """Read "files", or "files if db or dbs"; RegistrationError for anything else."""
        what, _, arguments = text.partition(" if ")
        if what not in NEEDS:
            raise RegistrationError(f"an operator cannot need {text!r}; known: {', '.join(NEEDS)}")
        return cls(what, tuple(arguments.split(" or ")) if arguments else ())

    def applies(self, args: object) -> bool:
        """Whether an operator with these arguments needs it."""
        return not self.arguments or any(getattr(args, name, None) for name in self.arguments)


@dataclass(frozen=True)
class Trust:
    """What is granted; `folders` are those whose files nets may read and write.

    `files` are databases that a user named, not a net, by the very name: these may be read.
    """

    granted: frozenset[str] = frozenset()
    folders: tuple[str, ...] = ()
    files: frozenset[str] = frozenset()

    def allows(self, what: str) -> bool:
        """Whether it is granted without any condition."""
        return what in self.granted

    def reading(self, *paths: str) -> Trust:
        """The same, and these databases may be read."""
        return replace(self, files=self.files | set(paths))

    def require(self, what: str, type_: str, names: Collection[str]) -> None:
        """Raise TrustError, with what to type, if an operator of this type may not do that.

        `names` are the texts in its arguments: one that names a database of the user's may read it.
        """
        somewhere = self.folders or not self.files.isdisjoint(names)
        if self.allows(what) or (what == "files" and somewhere):
            return
        does, hint = NEEDS[what]
        raise TrustError(
            f"{type_} {does}, and a net that comes from a file or from bytes is not trusted",
            hint=hint,
        )


#: What is built in this process may do everything; what comes from a file may only compute.
TRUSTED, SAFE = Trust(frozenset(NEEDS)), Trust()


def parse_needs(text: str) -> Collection[str]:
    """The words of --trust; UsageError for an unknown one."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in NEEDS]
    if unknown or not words:
        raise UsageError(f"--trust takes {' and '.join(NEEDS)}, found '{text}'")
    return words

"""The door: what an edited recipe may not even say."""

from search.door.check import refuse

__all__ = ["refuse"]

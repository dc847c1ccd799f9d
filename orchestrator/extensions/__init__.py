"""Files and packages of a user's own that add methods: how they are found, identified, imported and sent to workers."""

from __future__ import annotations

from pathlib import Path


def use(*extensions: str) -> None:
    """Makes extensions known to this process, as a sweep file that lists them does: files, or modules. For Python
    programs and notebooks; it runs their code. Raises UsageError."""
    from orchestrator.extensions import finding, importing

    importing.activate([finding.find(extension, Path()) for extension in extensions])

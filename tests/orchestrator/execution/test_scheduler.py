"""What Ray Tune would end a whole round for ends one trial."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ray.exceptions import OutOfMemoryError, RayActorError

from orchestrator.execution.scheduler import KILLED_BY_RAY, _ActorManager


def test_a_task_that_ray_ended_to_save_memory_is_of_an_actor_that_died(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, Exception]] = []
    actor = SimpleNamespace(actor_id=7, _on_error=lambda actor, error: said.append(("actor", error)))
    task = SimpleNamespace(_tracked_actor=actor, _on_error=lambda actor, error: said.append(("task", error)))
    manager = object.__new__(_ActorManager)
    manager._failed_actor_ids = set()
    monkeypatch.setattr(manager, "_cleanup_actor", lambda tracked_actor: None)
    manager._actor_task_failed(task, OutOfMemoryError(f"2 worker(s) were killed due to the node {KILLED_BY_RAY}"))
    assert [who for who, _ in said] == ["actor", "task"]
    assert all(isinstance(error, RayActorError) and KILLED_BY_RAY in str(error) for _, error in said)
    assert manager._failed_actor_ids == {7}
    with pytest.raises(RuntimeError, match="unexpected"):
        manager._actor_task_failed(task, ValueError("of another kind"))

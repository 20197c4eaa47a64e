"""What a job server says of its cluster, by Ray's own client. Written against Ray 2.60."""

from __future__ import annotations

from typing import Any


def cluster_metadata(client: Any) -> dict[str, Any]:
    """``rayVersion``, ``pythonVersion`` and more, as the dashboard's page has them.

    Args:
        client: a `ray.job_submission.JobSubmissionClient`, with whose token it is asked.

    Raises:
        requests.HTTPError: where the server refuses.
    """
    answer = client._do_request("GET", "/api/v0/cluster_metadata")
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    data: dict[str, Any] = found.get("data", found)
    return data

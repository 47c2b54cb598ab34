"""A real Prometheus beside the lab's hosts, which scrapes pmigd on all of them.

It is on the switch, so that it sees the hosts as a monitoring host would, and ends with the lab.
"""

from __future__ import annotations

import http.client
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import yaml

from contrib.lab.daemons import Daemon
from contrib.lab.deadlines import until
from contrib.lab.problems import LabError, LabUnavailable
from contrib.lab.requirements import missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from contrib.lab.lab import Lab

JOB: Final = "pmigd"
METRICS_PORT: Final = 9718
_PORT: Final = 9090
_DIRECTORY: Final = "/run/prometheus"
_TIMEOUT_S: Final = 30


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer: its labels, and its samples as (Unix time, value); never NaN."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


class Prometheus(Daemon):
    """Debian's Prometheus, with exemplars kept; `rules` are rule files of this machine."""

    def __init__(self, lab: Lab, *, rules: Iterable[Path] = (), interval_s: int = 1) -> None:
        if lacking := missing(prometheus=True):
            raise LabUnavailable(lacking)
        space = lab.switch
        directory = space.root / _DIRECTORY.lstrip("/")
        directory.mkdir()
        config = {
            "global": {
                "scrape_interval": f"{interval_s}s",
                "scrape_timeout": f"{interval_s}s",
                "evaluation_interval": f"{interval_s}s",
            },
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {
                    "job_name": JOB,
                    "static_configs": [
                        {
                            "targets": [f"{host.address}:{METRICS_PORT}"],
                            "labels": {"instance": f"{host.name}:{METRICS_PORT}"},
                        }
                        for host in lab.hosts
                    ],
                }
            ],
        }
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        super().__init__(
            space,
            "Prometheus",
            [
                "prometheus",
                f"--config.file={_DIRECTORY}/prometheus.yml",
                f"--storage.tsdb.path={_DIRECTORY}/data",
                f"--web.listen-address=127.0.0.1:{_PORT}",
                "--enable-feature=exemplar-storage",
                "--log.level=warn",
            ],
            directory / "log",
        )
        self.interval_s = interval_s
        self._switch = space

    def start(self, *, wait_ready: bool = True, timeout: float = 60.0) -> None:
        """Start it; by default wait until it scrapes every host, 5 s at least (`timeout` in s)."""
        self._spawn()
        if wait_ready:
            self.wait_ready(timeout)

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Wait until it has scraped every host with success."""
        until(self._scraping, "Prometheus to scrape", timeout=timeout, evidence=self.log_tail)

    def _scraping(self) -> bool:
        if not self.alive:
            raise LabError(f"{self.name} ended with {self.returncode}\n{self.log_tail()}")
        try:
            targets = self.ask("targets")["activeTargets"]
        except OSError:
            return False
        except LabError:  # it answers, but is not ready
            return False
        return bool(targets) and all(target["health"] == "up" for target in targets)

    def ask(self, path: str, **parameters: str | float) -> Any:
        """The data that ``GET /api/v1/{path}`` answers; LabError in its own words if it refuses."""
        query = urlencode(parameters)
        connection = http.client.HTTPConnection("127.0.0.1", _PORT, timeout=_TIMEOUT_S)
        connection.sock = self._switch.socket()
        connection.sock.settimeout(_TIMEOUT_S)
        connection.sock.connect(("127.0.0.1", _PORT))
        try:
            connection.request("GET", f"/api/v1/{path}?{query}")
            raw = connection.getresponse().read()
        finally:
            connection.close()
        try:
            answer = json.loads(raw)
        except ValueError:
            raise LabError(f"Prometheus: {raw.decode(errors='replace').strip()}") from None
        if answer["status"] != "success":
            raise LabError(f"Prometheus: {answer['error']}: {parameters.get('query', path)}")
        return answer["data"]

    def instant(self, expression: str, at: float) -> list[Series]:
        """What an expression is at a moment (Unix time)."""
        found = self.ask("query", query=expression, time=at)
        if found["resultType"] == "scalar":
            return _read([{"metric": {}, "values": [found["result"]]}])
        return _read([{**each, "values": [each["value"]]} for each in found["result"]])

    def over(self, expression: str, start: float, end: float, step: float) -> list[Series]:
        """What an expression was from `start` to `end` (Unix times), every `step` seconds."""
        found = self.ask("query_range", query=expression, start=start, end=end, step=step)
        return _read(found["result"])


def _read(series: Iterable[Mapping[str, Any]]) -> list[Series]:
    """Series with at least one number."""
    found = []
    for each in series:
        points = ((float(at), float(text)) for at, text in each["values"])
        numbers = tuple((at, value) for at, value in points if not math.isnan(value))
        if numbers:
            found.append(Series(each["metric"], numbers))
    return found

"""Two dashboards for Grafana. `make docs` writes their JSON next to this file."""

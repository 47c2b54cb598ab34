"""The dashboards on real data: traffic, what they ask Prometheus, and pictures of its answers."""

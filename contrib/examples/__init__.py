"""What the client library is for, in three programs; docs/client.md explains them."""

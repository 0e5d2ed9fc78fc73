"""Programs that the controller's steps carry to the host."""

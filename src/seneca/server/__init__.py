"""The processes of `seneca serve`."""

"""What knows nothing of Seneca's domain, or only its smallest values."""

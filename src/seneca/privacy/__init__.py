"""What is kept of one person: taken out, erased, forgotten after some time."""

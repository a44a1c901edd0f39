"""What was once encoded, kept on the disk, and the room that it takes."""

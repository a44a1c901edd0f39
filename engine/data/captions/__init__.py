"""What is said of pictures: where it stands, how it is read, and what was switched on for its words."""

"""What makes a picture out of a picture: edges, depth, poses, masks. Importing it loads no torch."""

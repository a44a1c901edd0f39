"""The files of a data set: found, opened, measured, remembered; put into zips, and put back as they were."""

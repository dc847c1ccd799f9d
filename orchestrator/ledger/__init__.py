"""The truth about every trial: checksummed files in one folder a trial, on a disk or in a bucket."""

"""Image data sets: what is known of each, readers of their true file formats, batches on the device."""

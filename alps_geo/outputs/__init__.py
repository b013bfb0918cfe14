"""Files for others: label rasters, GeoPackages, styles."""

"""The kinds of files that show something, by their suffixes in lower case."""

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
VIDEOS = {".mp4", ".avi", ".webm", ".mkv", ".mov", ".m4v", ".flv", ".wmv", ".mpg", ".mpeg", ".3gp", ".ts", ".gif"}
MEDIA = VIDEOS | PICTURES

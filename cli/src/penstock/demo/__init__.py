"""The whole of Penstock on one machine: broker, uploader and downloader, files that flow, and the proof."""

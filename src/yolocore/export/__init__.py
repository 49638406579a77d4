"""Writes networks in formats that other runtimes read; each format is a record that plugins can add to."""

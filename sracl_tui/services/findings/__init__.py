"""Findings for both faces: edits that can be taken back, and files to pass on."""

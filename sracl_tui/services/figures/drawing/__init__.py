"""Data of figures to matplotlib figures. Only this folder imports matplotlib, and nothing imports it before a figure is drawn."""

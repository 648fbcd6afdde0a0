"""Optional packages, each behind one small interface, imported when first used."""

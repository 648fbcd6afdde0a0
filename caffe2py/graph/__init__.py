"""Building NetDefs: scopes, references to blobs, nets and plans. Runs nothing."""

"""What a site's privacy settings do to an update before it leaves."""

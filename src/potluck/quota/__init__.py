"""What may still be spent, where: windows, leases, holds, and what providers teach."""

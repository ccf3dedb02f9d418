"""The pages that people read: of a job, a comparison, a study."""

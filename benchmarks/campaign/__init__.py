"""Jobs killed at random moments, continued, and compared with jobs that nobody killed.

    python -m benchmarks.campaign --out results/campaign.json [--kills 100] [--seed 0] [--only train generate]

One process imports the libraries and forks every job, so that a kill costs no import. A job is killed (by
kill -9 or SIGTERM, drawn) up to three times at moments drawn within the time of a whole run, and each time
the same command goes on. After each kill every file that is there must be whole, and in the end the results
must be equal to those of the job that was not killed. The journal makes the campaign itself resumable."""

"""The topics of `obatch help`, and the tables of exit codes and environment variables."""

from __future__ import annotations

EXIT_CODES = {
    "0": "done: every request was answered",
    "1": "failed; running the same command again is safe",
    "2": "wrong usage or configuration",
    "3": "the input has problems, or can cost too much; nothing was sent",
    "4": "the key is missing or was refused",
    "5": "the job ended, and some requests did not succeed",
    "6": "no such job, batch, file or provider",
    "7": "it is unknown whether a batch was created; nothing was sent twice",
    "124": "--timeout has passed; the job keeps running",
    "130, 143": "interrupted (Ctrl-C, SIGTERM); the job keeps running",
}

VARIABLES = {
    "OBATCH_PROVIDER": "the default provider",
    "OBATCH_CONFIG": "the configuration file",
    "OBATCH_STATE_DIR": "the folder of the registry and the jobs",
    "OBATCH_CACHE_DIR": "the folder for models of the provider local",
    "OBATCH_MAX_LINE_BYTES": "the longest line of an input, in bytes",
    "OBATCH_DEBUG": "1 adds a traceback to each error",
    "HTTPS_PROXY, NO_PROXY": "the proxy, and the hosts without it",
    "SSL_CERT_FILE": "the certificates to trust",
    "NO_COLOR, TERM=dumb": "colour off; --no-color is the same as NO_COLOR",
    "FORCE_COLOR": "colour on",
}

TOPICS = {
    "exit-codes": "Exit codes:\n\n"
    + "".join(f"  {code:<11} {text}\n" for code, text in EXIT_CODES.items())
    + """
With several jobs, 5 counts more than 124. With --strict, refused and cut
answers count as not answered. `obatch status --exit-code` uses the same codes.

  $ obatch run prompts.txt -o answers.jsonl || echo "ended with $?"
""",
    "templates": """Templates of --prompt, --system, --score and --rerank:

  {{ name }}       the value of a column
  {{ row }}        the whole row, as JSON
  @FILE            the template is the content of this file
  @@text           a text that begins with @

Templates are Jinja2: conditions, loops and filters work. A column that does not
exist is an error that names the line, before anything is sent.

  $ obatch prepare reviews.csv --prompt 'Label this review: {{ text }}' --show 1
  $ obatch prepare reviews.csv --prompt @label.txt --show 1
""",
    "providers": """Providers are where batches run.
`obatch providers` lists those that are configured or have a key, and
`obatch providers --all` all that are built in, with their key variables.

  -p NAME            the provider for one command
  OBATCH_PROVIDER    the default
  provider = "NAME"  the default, in the configuration file

Without these, it is the provider that serves the model, if there is one.

Keys are never options. Each provider reads its key from an environment
variable, or from what the configuration file names:

  [providers.acme]
  base_url = "https://api.acme.example/v1"
  api_key_env = "ACME_API_KEY"
  # or: api_key_command = ["pass", "show", "acme"]
  # or: api_key_keyring = "acme", after: python -m keyring set obatch acme

The provider `local` runs a small model on this machine, without a key.

  $ obatch providers add acme --base-url https://api.acme.example/v1 \\
      --api-key-env ACME_API_KEY
  $ obatch run --example -p local
""",
    "costs": """Costs are in US dollars, at the prices of the batch API.

  obatch cost FILE       what requests can cost, before they are sent
  obatch sample FILE     a few rows answered now, at the full price, and what
                         the whole would cost by their tokens
  obatch run FILE --max-cost 5
                         sends nothing that can cost more, retries included
  obatch status          what a job has cost, by the tokens of its results
  obatch cost            what was spent in each month

Prices come from the package genai-prices. Without a price, the cost is unknown,
and --max-cost sends nothing. The configuration file can set prices. They are
for a million tokens in a batch, and replace those of the package:

  [providers.acme]
  batch_discount = 0.5        # what a batch saves; list prices are lowered by it

  [providers.acme.prices."acme/large"]
  input = 0.25
  output = 1.00
  cached_input = 0.05         # without it, the price of input

Tokens are counted with tiktoken if it is installed (`openai-batch[costs]`) and
has the encoding on this machine. Otherwise they are estimated. --max-cost does
not trust estimates: it counts one token for each byte of text, and the output
limits in the requests. Without these limits it sends nothing.

  $ obatch cost reviews.csv --param max_completion_tokens=50
  $ obatch config set 'providers.acme.prices."acme/large"' \\
      '{input = 0.25, output = 1.00}'
""",
    "addresses": """FILE and -o can be addresses instead of local files:

  s3://BUCKET/NAME           Amazon S3, or a compatible server
  gs://BUCKET/NAME           Google Cloud Storage
  az://CONTAINER/NAME        Azure Blob Storage
  https://HOST/NAME          a file on the web; only as an input
  hf://datasets/OWNER/NAME/FILE
                             a file of a data set on Hugging Face, also with
                             @REVISION after NAME; only as an input

The first three need pip install 'openai-batch[cloud]'. Keys are those that the
tools of each store use, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,
GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME and
AZURE_STORAGE_ACCOUNT_KEY, or HF_TOKEN. AWS_ENDPOINT_URL names a server that is
compatible with S3. obatch stores no key.

An output appears when it is complete, and replaces nothing without --force.

  $ obatch run s3://my-bucket/reviews.csv -o s3://my-bucket/labels.csv
  $ obatch run 's3://my-bucket/parts/*.parquet' -o labels.parquet
  $ obatch prepare hf://datasets/OWNER/NAME/train.jsonl --show 1
""",
    "notify": """A message when a job ends, with --notify on `run` and `wait`:

  bell            the bell of the terminal
  cmd:COMMAND     a command; it runs without a shell
  slack://…       an Apprise URL: mail, chat, desktop, webhook
                  (needs pip install 'openai-batch[notify]')
  env:VARIABLE    one of these, in an environment variable
  none            no message, even if the configuration file names targets

A URL holds a secret, so put it into a variable. The default is in the
configuration file: notify = ["bell", "env:TEAM_CHAT"]

A command gets these variables: OBATCH_JOB, OBATCH_STATUS, OBATCH_NAME,
OBATCH_JOB_PROVIDER, OBATCH_REQUESTS, OBATCH_SUCCEEDED, OBATCH_FAILED,
OBATCH_OUTPUT, OBATCH_MESSAGE. If it fails, you get a warning, and the exit code
stays that of the job.

  $ obatch run prompts.txt -o answers.jsonl --notify bell
  $ obatch wait 3 4 --notify env:TEAM_CHAT
  $ obatch config set notify bell env:TEAM_CHAT
""",
    "environment": "Environment variables:\n\n"
    + "".join(f"  {name:<22} {text}\n" for name, text in VARIABLES.items())
    + """
Keys are in variables such as OPENAI_API_KEY; `obatch providers` shows which are
set. Options override variables, and variables override the configuration file.

  $ obatch config path
  $ obatch config show
""",
}

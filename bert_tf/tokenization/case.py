"""Whether a model reads lower-cased text: what its name and its vocabulary say of that."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping

from bert_tf.errors import UserError

# Of Google's released models, those whose directory name does not say "cased" or "uncased".
_LOWER_CASE_MODELS = ("multilingual_L-12_H-768_A-12", "chinese_L-12_H-768_A-12")
# Share of the entries with letters that hold a capital: 31% of Google's English cased vocabulary,
# 23% of its multilingual one, 13% of one learnt from 15 kB of cased text (tests/golden); none of
# the uncased English and Chinese ones nor of one learnt from lower-cased text. A few added names
# do not turn an uncased vocabulary into a cased one.
_CASED_SHARE = 0.05


def case_of_vocabulary(vocab: Iterable[str]) -> bool | None:
  """Tells from its tokens whether a vocabulary is of lower-cased text.

  Args:
    vocab: the tokens; markers such as [CLS] and <S> say nothing.

  Returns:
    True: lower case; False: it keeps capitals; None: it has no letters that have case.
  """
  capitals = letters = 0
  for token in vocab:
    if not token.startswith(("[", "<")):
      lower = token.lower()
      capitals += token != lower
      letters += lower != token.upper()
  return capitals <= _CASED_SHARE * letters if letters else None


def validate_case_matches_checkpoint(
  do_lower_case: bool, init_checkpoint: str | None, vocab: Mapping[str, int] | None = None
) -> None:
  """Refuses a `do_lower_case` that contradicts the pretrained model.

  Two witnesses: the names of Google's checkpoint directories (original:
  `validate_case_matches_checkpoint`), and the vocabulary if it is given (`case_of_vocabulary`).
  Text that was lower-cased beforehand is a good reason for a vocabulary without capitals, so that
  one only warns.

  Args:
    do_lower_case: the flag.
    init_checkpoint: path of the checkpoint, or None.
    vocab: token -> id, or None.

  Raises:
    UserError: the checkpoint's name, or capitals throughout the vocabulary, say otherwise.
  """
  lower_case = _case_by_name(init_checkpoint)
  if lower_case is not None and lower_case != do_lower_case:
    raise _case_error(do_lower_case, f"`init_checkpoint={init_checkpoint}`")
  lower_case = None if vocab is None else case_of_vocabulary(vocab)
  if do_lower_case and lower_case is False:
    raise _case_error(do_lower_case, "a vocabulary with capitals throughout")
  if not do_lower_case and lower_case:
    warnings.warn(
      "`do_lower_case=False,` but the vocabulary has no capitals to speak of: words with one become"
      " [UNK]; pass `do_lower_case=True` unless the text is lower case already"
    )


def _case_by_name(init_checkpoint: str | None) -> bool | None:
  """True for a model on lower-case text, False for a cased one, None if the path does not say."""
  match = re.match(r"^.*?([A-Za-z0-9_-]+)/bert_model.ckpt", init_checkpoint or "")
  if match is None:
    return None
  name = match.group(1)
  if name in _LOWER_CASE_MODELS or "uncased" in name:
    return True
  return False if "cased" in name else None


def _case_error(do_lower_case: bool, found: str) -> UserError:
  kind = "keeps case" if do_lower_case else "is lower case"
  return UserError(
    f"expected a model and a `do_lower_case` that agree, found `do_lower_case={do_lower_case}`"
    f" with {found}, which {kind}; pass `do_lower_case={not do_lower_case}`, or another model"
  )

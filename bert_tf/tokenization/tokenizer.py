"""Text to WordPieces end to end, in plain Python: the reference of the whole project."""

from __future__ import annotations

import itertools
import os
import re
import warnings
from collections.abc import Iterable, Mapping

from bert_tf.errors import UserError
from bert_tf.tokenization.basic import BasicTokenizer, clean_words, convert_to_unicode, split_word
from bert_tf.tokenization.memo import Memo
from bert_tf.tokenization.offsets import end_with_accents, placed_words
from bert_tf.tokenization.vocabulary import convert_ids_to_tokens, convert_tokens_to_ids, load_vocab
from bert_tf.tokenization.wordpiece import SUFFIX_INDICATOR, WordpieceTokenizer


class FullTokenizer:
  """Cleans, splits into words, splits words into pieces (original: `FullTokenizer`).

  Attributes:
    vocab: token -> id, in file order.
    inv_vocab: id -> token.
    do_lower_case: whether text is lower-cased and stripped of accents first.
  """

  def __init__(self, vocab_file: str | os.PathLike[str], do_lower_case: bool = True):
    """Reads the vocabulary; raises UserError for a bad one (see `load_vocab`)."""
    self.vocab = load_vocab(vocab_file)
    self.inv_vocab = {index: token for token, index in self.vocab.items()}
    self.do_lower_case = do_lower_case
    self.basic_tokenizer = BasicTokenizer(do_lower_case)
    self.wordpiece_tokenizer = WordpieceTokenizer(self.vocab)
    self._pieces = Memo(self._tokenize_word)

  def tokenize(self, text: str | bytes) -> list[str]:
    """Returns the pieces of `text`, without special tokens.

    "[MASK]" in running text is punctuation and a word, as in the original.

    Raises:
      UserError: `text` is neither `str` nor `bytes`.
    """
    pieces_of = self._pieces.__getitem__
    return list(itertools.chain.from_iterable(map(pieces_of, clean_words(text))))

  def tokenize_with_offsets(self, text: str | bytes) -> tuple[list[str], list[int], list[int]]:
    """Returns `tokenize(text)`, and where in `text` each piece begins and ends.

    `text[start:end]` is what became the piece, or, for [UNK], the whole word: characters of the
    text as given, before lower-casing; accents that were stripped go with the letter before them.
    Of bytes, the offsets count the characters that `convert_to_unicode` returns.

    Raises:
      UserError: `text` is neither `str` nor `bytes`.
    """
    text = convert_to_unicode(text)
    tokens: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for word in placed_words(text, self.do_lower_case):
      pieces = self.wordpiece_tokenizer.tokenize_word("".join(char for char, _ in word))
      first = 0
      for index, piece in enumerate(pieces):
        length = len(piece) - (len(SUFFIX_INDICATOR) if index else 0)
        # A word's only piece is the word, or stands for all of it.
        last = len(word) if len(pieces) == 1 else first + length
        places = [place for _, place in word[first:last]]
        tokens.append(piece)
        starts.append(min(places))
        ends.append(end_with_accents(text, max(places) + 1, self.do_lower_case))
        first = last
    return tokens, starts, ends

  def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]:
    """Returns the id of each token; raises UserError for one that the vocabulary lacks."""
    return convert_tokens_to_ids(self.vocab, tokens)

  def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
    """Returns the token of each id; raises UserError for an id that the vocabulary lacks."""
    return convert_ids_to_tokens(self.inv_vocab, ids)

  def _tokenize_word(self, word: str) -> tuple[str, ...]:
    tokenize_word = self.wordpiece_tokenizer.tokenize_word
    words = split_word(word, self.do_lower_case)
    return tuple(itertools.chain.from_iterable(map(tokenize_word, words)))


# Of Google's released models, those whose directory name does not say "cased" or "uncased".
_LOWER_CASE_MODELS = ("multilingual_L-12_H-768_A-12", "chinese_L-12_H-768_A-12")
_CASED_SHARE = 0.05


def validate_case_matches_checkpoint(
  do_lower_case: bool, init_checkpoint: str | None, vocab: Mapping[str, int] | None = None
) -> None:
  """Refuses a `do_lower_case` that contradicts the pretrained model.

  Two witnesses: the names of Google's checkpoint directories (original:
  `validate_case_matches_checkpoint`), and the vocabulary if it is given. The released vocabularies
  that keep case have capitals in 16% (multilingual) to 29% (English) of their entries, those that
  do not only in markers such as [CLS] and <S>. Text that was lower-cased beforehand is a good
  reason for a vocabulary without capitals, so that one only warns.

  Args:
    do_lower_case: the flag.
    init_checkpoint: path of the checkpoint, or None.
    vocab: token -> id, or None.

  Raises:
    UserError: the checkpoint's name, or capitals throughout the vocabulary, say otherwise.
  """
  lower_case = _case_by_name(init_checkpoint)
  if lower_case is not None and lower_case != do_lower_case:
    raise _case_error(do_lower_case, f"--init_checkpoint={init_checkpoint}")
  if vocab is None:
    return
  capitals = sum(token != token.lower() for token in vocab if not token.startswith(("[", "<")))
  if do_lower_case and capitals > _CASED_SHARE * len(vocab):
    raise _case_error(do_lower_case, f"a vocabulary with capitals in {capitals} tokens")
  if not do_lower_case and not capitals and "a" in vocab:
    warnings.warn(
      "--do_lower_case=False, but the vocabulary has no capitals: words with one become [UNK];"
      " pass --do_lower_case=True unless the text is lower case already"
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
    f"expected a model and a --do_lower_case that agree, found --do_lower_case={do_lower_case}"
    f" with {found}, which {kind}; pass --do_lower_case={not do_lower_case}, or another model"
  )

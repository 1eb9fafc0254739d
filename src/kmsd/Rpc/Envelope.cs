using System.Buffers;
using System.Text.Json;
using System.Text.Unicode;
using Kms.Client.Protocol;
using StreamJsonRpc;

namespace Kmsd.Rpc;

/// <summary>
/// The outside of one line, checked before anything is built from it: JSON, depth, version, id, method, params. What it
/// lets through is a request that the library can't stumble over.
/// </summary>
internal readonly record struct Envelope
{
    private const int MostDepth = 16;
    private const int LongestStringId = 64;
    private const string CancelMethod = "$/cancelRequest";

    /// <summary>What to do with the line.</summary>
    public enum Verdict
    {
        None = 0,
        Run = 1,
        Cancel = 2,

        /// <summary>A notification: never run, never answered.</summary>
        Drop = 3,
        Refuse = 4,
    }

    public Verdict Outcome { get; private init; }

    /// <summary>Absent (<see cref="RequestId.NotSpecified"/>) where none could be read.</summary>
    public RequestId Id { get; private init; }

    public RpcMethod? Method { get; private init; }

    /// <summary>True if the line has no params, or null.</summary>
    public bool NeedsParams { get; private init; }

    /// <summary>Where a <c>null</c> of the params stands in the line, or where the object ends.</summary>
    public (int Start, int Length) Gap { get; private init; }

    public KmsErrorCode Code { get; private init; }

    public string? Message { get; private init; }

    public static Envelope Read(ReadOnlySpan<byte> line)
    {
        try
        {
            return Utf8.IsValid(line)
                ? new Parser().Parse(line)
                : Refuse(KmsErrorCode.ParseError, "The line isn't UTF-8.", default);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            // InvalidOperationException: a \u escape that is half a surrogate pair stands for no text (RFC 8259, section 8.2).
            return Refuse(KmsErrorCode.ParseError, "The line isn't JSON.", default);
        }
    }

    private static Envelope Refuse(KmsErrorCode code, string message, RequestId id) =>
        new() { Outcome = Verdict.Refuse, Code = code, Message = message, Id = id };

    private static Envelope Invalid(string message, RequestId id = default) => Refuse(KmsErrorCode.InvalidRequest, message, id);

    /// <summary>One pass over the tokens.</summary>
    private struct Parser
    {
        private bool _hasVersion;
        private bool _hasId;
        private bool _isIdValid;
        private RequestId _id;
        private string? _method;
        private bool _hasMethod;
        private bool _hasParams;
        private JsonTokenType _params;
        private (int Start, int Length) _gap;
        private bool _isCancelTarget;
        private bool _isMalformed;

        public Envelope Parse(ReadOnlySpan<byte> line)
        {
            Utf8JsonReader reader = new(line, new JsonReaderOptions { MaxDepth = int.MaxValue, AllowMultipleValues = false });
            bool isObject = reader.Read() && reader.TokenType == JsonTokenType.StartObject;
            if (!isObject)
            {
                return SkipRest(ref reader) ? Invalid("A request is one JSON object; batches aren't supported.") : TooDeep();
            }

            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                if (!ReadMember(ref reader))
                {
                    return TooDeep();
                }
            }

            int end = (int)reader.TokenStartIndex;
            _ = reader.Read(); // Nothing may follow but white space: anything else throws.
            if (!_hasParams)
            {
                _gap = (end, 0);
            }

            return Judge();
        }

        private static Envelope TooDeep() => Invalid($"The request is nested deeper than {MostDepth}.");

        private Envelope Judge()
        {
            RequestId id = _hasId && _isIdValid ? _id : default;
            if (_hasId && !_isIdValid)
            {
                return Invalid($"An id is an integer or a string of at most {LongestStringId} characters.");
            }

            if (!_hasVersion || _isMalformed || _method is null)
            {
                return Invalid("A request has \"jsonrpc\":\"2.0\", a method, params that are an object, an id, and nothing twice or besides.", id);
            }

            if (!_hasId)
            {
                return new Envelope { Outcome = _method == CancelMethod && _isCancelTarget ? Verdict.Cancel : Verdict.Drop };
            }

            if (!RpcMethods.All.TryGetValue(_method, out RpcMethod? method))
            {
                return Refuse(KmsErrorCode.MethodNotFound, "There is no such method; see rpc.discover.", id);
            }

            return !_hasParams || _params is JsonTokenType.StartObject or JsonTokenType.Null
                ? new Envelope
                {
                    Outcome = Verdict.Run,
                    Id = id,
                    Method = method,
                    NeedsParams = !_hasParams || _params == JsonTokenType.Null,
                    Gap = _gap,
                }
                : Refuse(KmsErrorCode.InvalidParams, "The params are an object with named members.", id);
        }

        private bool ReadMember(ref Utf8JsonReader reader)
        {
            if (reader.ValueTextEquals("jsonrpc"u8))
            {
                _ = reader.Read();
                _isMalformed |= _hasVersion;
                _hasVersion = reader.TokenType == JsonTokenType.String && reader.ValueTextEquals("2.0"u8);
                _isMalformed |= !_hasVersion;
            }
            else if (reader.ValueTextEquals("id"u8))
            {
                _ = reader.Read();
                _isMalformed |= _hasId;
                _hasId = true;
                _isIdValid = TryReadId(ref reader, out _id);
            }
            else if (reader.ValueTextEquals("method"u8))
            {
                _ = reader.Read();
                _isMalformed |= _hasMethod || reader.TokenType != JsonTokenType.String;
                _hasMethod = true;
                _method = TryReadText(ref reader);
            }
            else if (reader.ValueTextEquals("params"u8))
            {
                _ = reader.Read();
                _isMalformed |= _hasParams;
                _hasParams = true;
                _params = reader.TokenType;
                _gap = ((int)reader.TokenStartIndex, 4);
                return _params == JsonTokenType.StartObject ? ReadParams(ref reader) : Skip(ref reader);
            }
            else
            {
                _isMalformed = true;
                _ = reader.Read();
            }

            return Skip(ref reader);
        }

        /// <summary>Through the params, looking only for the id that a cancellation names.</summary>
        private bool ReadParams(ref Utf8JsonReader reader)
        {
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                bool isId = reader.ValueTextEquals("id"u8);
                _ = reader.Read();
                _isCancelTarget |= isId && TryReadId(ref reader, out _);
                if (!Skip(ref reader))
                {
                    return false;
                }
            }

            return true;
        }

        /// <summary>To the end of the value that the reader stands on; false if it is nested too deep.</summary>
        private static bool Skip(ref Utf8JsonReader reader)
        {
            int depth = reader.CurrentDepth;
            if (reader.TokenType is not (JsonTokenType.StartObject or JsonTokenType.StartArray))
            {
                return true;
            }

            do
            {
                if (reader.TokenType is JsonTokenType.StartObject or JsonTokenType.StartArray && reader.CurrentDepth >= MostDepth)
                {
                    return false;
                }
            }
            while (reader.Read() && reader.CurrentDepth > depth);
            return true;
        }

        private static bool SkipRest(ref Utf8JsonReader reader)
        {
            bool isShallow = Skip(ref reader);
            return isShallow && !reader.Read();
        }

        private static string? TryReadText(ref Utf8JsonReader reader)
        {
            try
            {
                return reader.TokenType == JsonTokenType.String ? reader.GetString() : null;
            }
            catch (InvalidOperationException)
            {
                return null; // A lone surrogate behind a \u escape: legal JSON, no text.
            }
        }

        private static bool TryReadId(ref Utf8JsonReader reader, out RequestId id)
        {
            if (reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out long number))
            {
                id = new RequestId(number);
                return true;
            }

            // A character is a Unicode scalar value, one or two units of the text.
            string? text = TryReadText(ref reader);
            bool isId = text is { Length: <= 2 * LongestStringId } && text.Count(unit => !char.IsLowSurrogate(unit)) <= LongestStringId;
            id = isId ? new RequestId(text) : default;
            return isId;
        }
    }

    /// <summary>The line with <c>{}</c> for params where it has none.</summary>
    public ReadOnlySequence<byte> Complete(ReadOnlySpan<byte> line)
    {
        ReadOnlySpan<byte> filling = Gap.Length > 0 ? "{}"u8 : ",\"params\":{}"u8;
        return new ReadOnlySequence<byte>([.. line[..Gap.Start], .. filling, .. line[(Gap.Start + Gap.Length)..]]);
    }
}

using System.Buffers.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Kms.Client.Protocol;

namespace Kms.Client.Transport;

/// <summary>
/// One line from the daemon, taken apart without copying: whose answer it is, and where its result or error stands; or what the
/// daemon says unasked.
/// </summary>
internal readonly ref struct AnswerLine
{
    private readonly ReadOnlySpan<byte> _error;

    private AnswerLine(long? id, ReadOnlySpan<byte> result, ReadOnlySpan<byte> error)
    {
        Id = id;
        Result = result;
        _error = error;
    }

    private AnswerLine(ReadOnlySpan<byte> method, ReadOnlySpan<byte> parameters)
    {
        Method = method;
        Params = parameters;
    }

    /// <summary>Of a message that is no answer, its method in quotes; else empty.</summary>
    public ReadOnlySpan<byte> Method { get; }

    /// <summary>The params of such a message; empty if it has none.</summary>
    public ReadOnlySpan<byte> Params { get; }

    /// <summary>Null if the daemon speaks of the connection as a whole.</summary>
    public long? Id { get; }

    public ReadOnlySpan<byte> Result { get; }

    public bool IsError => !_error.IsEmpty;

    public bool IsAnswer => IsError || !Result.IsEmpty;

    /// <exception cref="JsonException">The line isn't a JSON object, or its id isn't one of ours.</exception>
    public static AnswerLine Read(ReadOnlySpan<byte> line)
    {
        ReadOnlySpan<byte> id = default;
        ReadOnlySpan<byte> method = default;
        ReadOnlySpan<byte> parameters = default;
        ReadOnlySpan<byte> result = default;
        ReadOnlySpan<byte> error = default;
        var reader = new Utf8JsonReader(line);
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
        {
            throw new JsonException("An object is expected.");
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            // Compared as bytes: ours are plain ASCII, and an escape that stands for no text would throw.
            ReadOnlySpan<byte> name = reader.ValueSpan;
            bool isId = name.SequenceEqual("id"u8);
            bool isMethod = name.SequenceEqual("method"u8);
            bool isParams = name.SequenceEqual("params"u8);
            bool isResult = name.SequenceEqual("result"u8);
            bool isError = name.SequenceEqual("error"u8);
            _ = reader.Read();
            int start = checked((int)reader.TokenStartIndex);
            bool isNull = reader.TokenType == JsonTokenType.Null;
            reader.Skip();
            ReadOnlySpan<byte> value = line[start..checked((int)reader.BytesConsumed)];
            if (isId && !isNull)
            {
                id = value;
            }
            else if (isMethod)
            {
                method = value;
            }
            else if (isParams)
            {
                parameters = value;
            }
            else if (isResult)
            {
                result = value;
            }
            else if (isError && !isNull)
            {
                error = value;
            }
        }

        // What a newer daemon may ask of its clients has an id of its own making: it is no answer, whatever that looks like.
        return method.IsEmpty ? new AnswerLine(ReadId(id), result, error) : new AnswerLine(method, parameters);
    }

    private static long? ReadId(ReadOnlySpan<byte> id) =>
        id.IsEmpty ? null
        : Utf8Parser.TryParse(id, out long number, out int length) && length == id.Length ? number
        : throw new JsonException("An integer id is expected.");

    /// <summary>The refusal, typed.</summary>
    public KmsException ToException()
    {
        ErrorAnswer? error;
        try
        {
            error = JsonSerializer.Deserialize(_error, AnswerJsonContext.Default.ErrorAnswer);
        }
        catch (JsonException exception)
        {
            return new KmsException(KmsErrorCode.Internal, "The daemon refused in a form that this client doesn't know.", exception);
        }

        return KmsException.From(error?.Code ?? 0, error?.Message, error?.Data);
    }
}

/// <summary>The <c>error</c> of an answer.</summary>
internal sealed class ErrorAnswer
{
    public int Code { get; init; }

    public string? Message { get; init; }

    public ErrorDetail? Data { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(ErrorAnswer))]
internal sealed partial class AnswerJsonContext : JsonSerializerContext;

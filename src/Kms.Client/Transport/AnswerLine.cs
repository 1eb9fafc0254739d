using System.Text.Json;
using System.Text.Json.Serialization;
using Kms.Client.Protocol;

namespace Kms.Client.Transport;

/// <summary>One line from the daemon, taken apart without copying: whose answer it is, and where its result or error stands.</summary>
internal readonly ref struct AnswerLine
{
    private readonly ReadOnlySpan<byte> _error;

    private AnswerLine(long? id, ReadOnlySpan<byte> result, ReadOnlySpan<byte> error)
    {
        Id = id;
        Result = result;
        _error = error;
    }

    /// <summary>Null if the daemon speaks of the connection as a whole.</summary>
    public long? Id { get; }

    public ReadOnlySpan<byte> Result { get; }

    public bool IsError => !_error.IsEmpty;

    /// <summary>Neither: a notification, which this client hasn't asked for.</summary>
    public bool IsAnswer => IsError || !Result.IsEmpty;

    /// <exception cref="JsonException">The line isn't a JSON object, or its id isn't one of ours.</exception>
    public static AnswerLine Read(ReadOnlySpan<byte> line)
    {
        long? id = null;
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
            bool isResult = name.SequenceEqual("result"u8);
            bool isError = name.SequenceEqual("error"u8);
            _ = reader.Read();
            int start = checked((int)reader.TokenStartIndex);
            if (isId && reader.TokenType != JsonTokenType.Null)
            {
                id = reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out long number)
                    ? number
                    : throw new JsonException("An integer id is expected.");
            }

            reader.Skip();
            ReadOnlySpan<byte> value = line[start..checked((int)reader.BytesConsumed)];
            if (isResult)
            {
                result = value;
            }
            else if (isError && reader.TokenType != JsonTokenType.Null)
            {
                error = value;
            }
        }

        return new AnswerLine(id, result, error);
    }

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

using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Keys;

/// <summary>Many values under one key, recorded as one request: <c>crypto.encryptBatch</c>, <c>decryptBatch</c>, <c>reencryptBatch</c>.</summary>
internal sealed class Batches(CatalogueLedger catalogue, VersionCipher cipher, UseRecorder recorder)
{
    public async Task<EncryptBatchResult> EncryptAsync(Caller caller, EncryptBatchRequest request, CancellationToken cancellationToken)
    {
        CheckCount(request.Items);
        CheckSum(request.Items.Sum(item => (long)item.Plaintext.Length));
        Key key = catalogue.Current.Require(caller, KeyReference.Parse(request.Key), KeyAction.Encrypt);
        KeyVersion version = key.Usable(key.CurrentVersion.Number);
        var results = new EncryptItemResult[request.Items.Length];
        for (int i = 0; i < results.Length; i++)
        {
            EncryptItem item = request.Items[i];
            results[i] = await ForItemAsync(
                async () =>
                {
#pragma warning disable IDISP007 // The request ends here.
                    using SensitiveBytes plaintext = item.Plaintext;
#pragma warning restore IDISP007
                    KeyLimits.CheckContext(item.Context);
                    Ciphertext made = await cipher.EncryptAsync(key, version, plaintext, item.Context, cancellationToken);
                    return new EncryptItemResult { Ciphertext = made.ToString(), KeyVersion = version.Number };
                },
                error => new EncryptItemResult { Error = error });
        }

        await recorder.RecordAsync(
            new KeyUse(caller, "crypto.encryptBatch", KeyAction.Encrypt, key.Tag, version.Number)
            {
                Items = results.Count(result => result.Error is null),
            },
            cancellationToken);
        return new EncryptBatchResult { Items = results };
    }

    public async Task<DecryptBatchResult> DecryptAsync(Caller caller, DecryptBatchRequest request, CancellationToken cancellationToken)
    {
        CheckCount(request.Items);
        Key key = catalogue.Current.Require(caller, KeyReference.Parse(request.Key), KeyAction.Decrypt);
        List<Ciphertext?> ciphertexts = ParseAll(key, request.Items.Select(item => item.Ciphertext));
        DecryptBatchResult result = new() { Items = new DecryptItemResult[request.Items.Length] };
        try
        {
            SortedSet<long> touched = [];
            long opened = 0;
            for (int i = 0; i < result.Items.Length; i++)
            {
                DecryptItem item = request.Items[i];
                Ciphertext? ciphertext = ciphertexts[i];
                result.Items[i] = await ForItemAsync(
                    async () =>
                    {
                        KeyLimits.CheckContext(item.Context);
                        (SensitiveBytes plaintext, long version) = await OpenAsync(key, ciphertext, item.Context, touched, cancellationToken);
                        return new DecryptItemResult { Plaintext = plaintext, KeyVersion = version };
                    },
                    error => new DecryptItemResult { Error = error });
                CheckSum(opened += result.Items[i].Plaintext?.Length ?? 0);
            }

            await RecordAsync(caller, "crypto.decryptBatch", KeyAction.Decrypt, key, touched, result.Items.Length, cancellationToken);
            return result;
        }
        catch
        {
            foreach (DecryptItemResult? item in result.Items)
            {
#pragma warning disable IDISP007 // Made here, and never to be answered.
                item?.Plaintext?.Dispose();
#pragma warning restore IDISP007
            }

            throw;
        }
    }

    public async Task<ReencryptBatchResult> ReencryptAsync(
        Caller caller, ReencryptBatchRequest request, CancellationToken cancellationToken)
    {
        CheckCount(request.Items);
        var reference = KeyReference.Parse(request.Key);
        Key key = catalogue.Current.Require(caller, reference, KeyAction.Encrypt);
        if (request.Items.Any(item => Reencrypt.ChangesContext(item.Context, item.NewContext)))
        {
            _ = catalogue.Current.Require(caller, reference, KeyAction.Decrypt);
        }

        List<Ciphertext?> ciphertexts = ParseAll(key, request.Items.Select(item => item.Ciphertext));
        KeyVersion newest = key.Usable(key.CurrentVersion.Number);
        SortedSet<long> touched = [];
        var results = new ReencryptItemResult[request.Items.Length];
        long sum = 0;
        for (int i = 0; i < results.Length; i++)
        {
            ReencryptItem item = request.Items[i];
            Ciphertext? ciphertext = ciphertexts[i];
            results[i] = await ForItemAsync(
                async () =>
                {
                    KeyLimits.CheckContext(item.Context);
                    KeyLimits.CheckContext(item.NewContext);
                    (SensitiveBytes opened, long previous) = await OpenAsync(key, ciphertext, item.Context, touched, cancellationToken);
                    using SensitiveBytes plaintext = opened;
                    sum += plaintext.Length;
                    Ciphertext made = await cipher.EncryptAsync(
                        key, newest, plaintext, item.NewContext ?? item.Context, cancellationToken);
                    return new ReencryptItemResult { Ciphertext = made.ToString(), KeyVersion = newest.Number, PreviousKeyVersion = previous };
                },
                error => new ReencryptItemResult { Error = error });
            CheckSum(sum);
        }

        _ = touched.Remove(newest.Number);
        await recorder.RecordAsync(
            new KeyUse(caller, "crypto.reencryptBatch", KeyAction.Encrypt, key.Tag, newest.Number)
            {
                Items = results.Count(result => result.Error is null),
                AlsoTouched = [.. touched],
            },
            cancellationToken);
        return new ReencryptBatchResult { Items = results };
    }

    private async Task<(SensitiveBytes Plaintext, long Version)> OpenAsync(
        Key key, Ciphertext? ciphertext, byte[]? context, SortedSet<long> touched, CancellationToken cancellationToken)
    {
        Ciphertext parsed = ciphertext ?? throw Refusals.DoesNotAuthenticate();
        SensitiveBytes? plaintext = await cipher.DecryptAsync(key, parsed, context, cancellationToken);
        _ = touched.Add(parsed.Version);
        return (plaintext ?? throw Refusals.DoesNotAuthenticate(), parsed.Version);
    }

    /// <summary>Records a request that touched these versions; the newest of them stands for it.</summary>
    private async Task RecordAsync(
        Caller caller, string operation, KeyAction action, Key key, SortedSet<long> touched, int items, CancellationToken cancellationToken)
    {
        long main = touched.Count > 0 ? touched.Max : key.CurrentVersion.Number;
        _ = touched.Remove(main);
        await recorder.RecordAsync(
            new KeyUse(caller, operation, action, key.Tag, main) { Items = items, AlsoTouched = [.. touched] }, cancellationToken);
    }

    private static async Task<T> ForItemAsync<T>(Func<Task<T>> run, Func<ItemError, T> refuse)
    {
        try
        {
            return await run();
        }
        catch (KmsException exception) when (exception.Code is not (KmsErrorCode.TokenUnavailable or KmsErrorCode.IntegrityFailure))
        {
            return refuse(new ItemError
            {
                Code = (int)exception.Code,
                Message = exception.Message,
                Data = ErrorDetail.Of(exception),
            });
        }
    }

    /// <summary>
    /// Null for what doesn't parse. The sum is checked here where ciphertexts tell how long their plaintexts are; those of RSA
    /// don't, and are added up as they are opened.
    /// </summary>
    private static List<Ciphertext?> ParseAll(Key key, IEnumerable<string> texts)
    {
        List<Ciphertext?> parsed = [.. texts.Select(text => Ciphertext.TryParse(text, out Ciphertext ciphertext) ? ciphertext : (Ciphertext?)null)];
        if (key.Type == KeyType.Aes256Gcm96)
        {
            CheckSum(parsed.Sum(ciphertext => Math.Max(0L, (ciphertext?.Payload.Length ?? 0) - Aes256Gcm96.Overhead)));
        }

        return parsed;
    }

    private static void CheckCount<T>(T[] items)
    {
        if (items.Length is < 1 or > Limits.BatchItems || items.Any(item => item is null))
        {
            throw new KmsException(KmsErrorCode.InvalidParams, $"A batch has 1 to {Limits.BatchItems} items.");
        }
    }

    private static void CheckSum(long bytes)
    {
        if (bytes > Limits.PlaintextBytes)
        {
            throw new KmsException(KmsErrorCode.TooLarge, $"The plaintext of a batch's items is more than {Limits.PlaintextBytes} bytes together.");
        }
    }
}

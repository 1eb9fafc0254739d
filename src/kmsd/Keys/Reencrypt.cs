using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Keys;

/// <summary>Seals anew under the newest version what an older one has sealed; the plaintext never leaves: <c>crypto.reencrypt</c>.</summary>
internal sealed class Reencrypt(CatalogueLedger catalogue, VersionCipher cipher, UseRecorder recorder)
{
    private const string Operation = "crypto.reencrypt";

    public async Task<ReencryptResult> RunAsync(Caller caller, ReencryptRequest request, CancellationToken cancellationToken)
    {
        KeyLimits.CheckContext(request.Context);
        KeyLimits.CheckContext(request.NewContext);
        Key key = catalogue.Current.Require(caller, KeyReference.Parse(request.Key), KeyAction.Encrypt);
        if (ChangesContext(request.Context, request.NewContext))
        {
            _ = catalogue.Current.Require(caller, KeyReference.Of(key.Tag), KeyAction.Decrypt);
        }

        if (!Ciphertext.TryParse(request.Ciphertext, out Ciphertext old))
        {
            throw Refusals.DoesNotAuthenticate();
        }

        KeyVersion newest = key.Usable(key.CurrentVersion.Number);
        using SensitiveBytes? plaintext = await cipher.DecryptAsync(key, old, request.Context, cancellationToken);
        Ciphertext? sealedAnew = plaintext is null
            ? null
            : await cipher.EncryptAsync(key, newest, plaintext, request.NewContext ?? request.Context, cancellationToken);
        await recorder.RecordAsync(
            new KeyUse(caller, Operation, KeyAction.Encrypt, key.Tag, newest.Number)
            {
                Context = request.NewContext ?? request.Context,
                Items = sealedAnew is null ? 0 : 1,
                AlsoTouched = old.Version == newest.Number ? [] : [old.Version],
                Outcome = sealedAnew is null ? KmsErrorCode.InvalidCiphertext.ToReason() : "ok",
            },
            cancellationToken);
        return sealedAnew is Ciphertext ciphertext
            ? new ReencryptResult { Ciphertext = ciphertext.ToString(), KeyVersion = newest.Number, PreviousKeyVersion = old.Version }
            : throw Refusals.Recorded(Refusals.DoesNotAuthenticate());
    }

    /// <summary>Who changes the context could choose one that he can have decrypted; so he must be allowed to decrypt.</summary>
    public static bool ChangesContext(byte[]? context, byte[]? newContext) =>
        newContext is not null && !newContext.AsSpan().SequenceEqual(context);
}
